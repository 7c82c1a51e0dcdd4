//! SYNs that no client stands behind, and SYNs with data.

use std::process::Command;

use portcullis_tests::{
    netns::Network,
    pki,
    process::{Process, run},
    steering::{first_choice, outcome},
    tools::{need, python},
};

use crate::stand::{config, held, host, in_network, segments, visit, worker_of};

/// Sends SYNs with the usual options, each from another address and port. Nobody answers there.
const FLOOD: &str = "
import socket, struct, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
to = socket.inet_aton('127.0.0.1')
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
options = struct.pack('!BBHBBBBIIBBBB', 2, 4, 1460, 4, 2, 8, 10, 1, 0, 1, 3, 3, 7)
for n in range(count):
    source = bytes([127, 9, n // 250, n % 250 + 1])
    tcp = [20_000 + n, port, n, 0, 0xa002, 64_240, 0, 0]
    segment = lambda: struct.pack('!HHIIHHHH', *tcp) + options
    words = struct.unpack('!26H', source + to + struct.pack('!HH', 6, 40) + segment())
    folded = sum(words)
    folded = (folded & 0xffff) + (folded >> 16)
    tcp[6] = ~((folded & 0xffff) + (folded >> 16)) & 0xffff
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 60, 0, 0, 64, 6, 0) + source + to
    raw.sendto(ip + segment(), ('127.0.0.1', 0))
print('sent', flush=True)
";
/// Their SYN-ACKs, which the kernel would answer with resets.
const ANSWERS: &str = "ip daddr 127.9.0.0/16 tcp flags & syn == syn";

/// Connections for which the kernel keeps a request.
fn half_open(port: u16) -> f64 {
    let filter = ["-tnH", "state", "syn-recv", "sport", "=", &format!(":{port}")];
    let shown = run(Command::new(need("ss")).args(filter), b"");
    shown.stdout.lines().count() as f64
}

#[test]
fn nine_thousand_half_open_syns_are_not_kept_and_disturb_nobody() {
    const SYNS: usize = 9000;
    in_network(|network| {
        network.drop_incoming(&[ANSWERS]);
        let proxy = config(1, "max_load_percent: 1000").start();
        let (port, before) = (proxy.address().port(), segments(&proxy, "caught"));
        let arguments = [port.to_string(), SYNS.to_string()];
        let mut flood = Command::new(python());
        let flood = Process::spawn("flood", flood.args(["-c", FLOOD]).args(&arguments));
        for n in 0..100 {
            drop(visit(proxy.address(), &host(0), &format!("/{n}")));
        }
        flood.wait_for_text("sent");
        assert_eq!(half_open(port), held(&proxy));
        assert!(segments(&proxy, "caught") >= before + (SYNS + 100) as f64);
        assert_eq!(outcome(&proxy.metrics(), "steered"), 100.0);
        proxy.assert_no_panic();
    });
}

/// Connects with TCP Fast Open and no cookie of the server: the SYN contains the hello.
const FAST_OPEN: &str = "
import socket, ssl, sys
address, port, name, ca, count = sys.argv[1:]
MSG_FASTOPEN = 0x20000000
context = ssl.create_default_context(cafile=ca)
for n in range(int(count)):
    client, received, sent = socket.socket(), ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(received, sent, server_hostname=name)
    def call(action, send):
        while True:
            try:
                result, done = action(), True
            except ssl.SSLWantReadError:
                result, done = None, False
            data = sent.read()
            if data:
                send(data)
            if done:
                return result
            send = client.sendall
            received.write(client.recv(65536))
    call(tls.do_handshake, lambda hello: client.sendto(hello, MSG_FASTOPEN, (address, int(port))))
    request = f'GET /{n} HTTP/1.1\\r\\nHost: {name}\\r\\n\\r\\n'.encode()
    call(lambda: tls.write(request), client.sendall)
    answer = call(lambda: tls.read(65536), client.sendall)
    assert answer.startswith(b'HTTP/1.1 301 '), answer
    client.close()
";

/// A cookie answers the SYN alone; the client sends the hello once more.
fn syns_with_a_hello_are_served(network: &Network) {
    const CLIENTS: u64 = 20;
    network.sysctl("ipv4/tcp_fastopen", "5"); // a client sends data without a cookie too
    let proxy = config(1, "max_load_percent: 1000").start();
    let home = first_choice(&proxy, &host(0));
    let before = (segments(&proxy, "caught"), network.unanswered_fast_opens());
    let (address, ca) = (proxy.address(), pki().ca());
    let (ip, port) = (address.ip().to_string(), address.port().to_string());
    let ca = ca.to_str().expect("a path");
    let arguments = [&*ip, &*port, &*host(0), ca, &CLIENTS.to_string()];
    let done = run(Command::new(python()).args(["-c", FAST_OPEN]).args(arguments), b"");
    assert_eq!(done.code, Some(0), "{done:?}");
    assert_eq!(network.unanswered_fast_opens(), before.1 + CLIENTS, "SYNs without data");
    assert!(segments(&proxy, "caught") >= before.0 + CLIENTS as f64);
    assert_eq!(outcome(&proxy.metrics(), "steered"), CLIENTS as f64);
    for n in 0..CLIENTS {
        assert_eq!(worker_of(&proxy, &format!("/{n}")), home);
    }
    proxy.assert_no_panic();
}

#[test]
fn a_syn_with_a_hello_is_caught_and_the_hello_is_steered() {
    in_network(syns_with_a_hello_are_served);
}
