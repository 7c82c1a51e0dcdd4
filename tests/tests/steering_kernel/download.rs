//! The throughput of a client without timestamps that is far away. CI leaves this out: it measures.
//! `-- --ignored --nocapture download::` shows it.

use std::{
    process::Command,
    sync::mpsc::{Receiver, Sender, channel},
};

use portcullis_tests::{
    Backend, Proxy,
    netns::Network,
    process::{Process, run},
    tools::{need, python},
};

use crate::stand::{config, host, in_network, segments};

const MIB: usize = 100;
const ROUNDS: usize = 5;

/// A line of two devices with 200 Mbit/s, on which each packet takes 25 ms in each direction. Linux's
/// own delay (netem) is not in every kernel.
const LINE: &str = "
import collections, fcntl, os, select, struct, time
DELAY, BYTES_PER_SECOND = 0.025, 25e6
TUNSETIFF, TUN_WITHOUT_HEADER = 0x400454ca, 0x1001
def device(name):
    end = os.open('/dev/net/tun', os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack('16sH22x', name, TUN_WITHOUT_HEADER))
    return end
here, there = device(b'here'), device(b'there')
to = {here: there, there: here}
under_way = {here: collections.deque(), there: collections.deque()}
free = {here: 0, there: 0}
ready = select.poll()
ready.register(here, select.POLLIN)
ready.register(there, select.POLLIN)
print('made', flush=True)
while True:
    now = time.monotonic()
    for end, packets in under_way.items():
        while packets and packets[0][0] <= now:
            try:
                os.write(end, packets.popleft()[1])
            except OSError:
                pass
    due = min((packets[0][0] for packets in under_way.values() if packets), default=now + 1)
    for end, _ in ready.poll(max(0, (due - now) * 1000)):
        for _ in range(256):
            try:
                packet = os.read(end, 2048)
            except BlockingIOError:
                break
            free[end] = max(free[end], time.monotonic()) + len(packet) / BYTES_PER_SECOND
            under_way[to[end]].append((free[end] + DELAY, packet))
";

fn set_up(network: &Network, device: &str, own: &str, other: &str) {
    network.ip(&format!("address add {own} peer {other} dev {device}"));
    network.ip(&format!("link set {device} mtu 1500 txqueuelen 20000 up"));
}

/// Downloads whenever it is told a port; tells the seconds.
fn client(network: &Network, thread: &Sender<i32>, ports: &Receiver<u16>, took: &Sender<f64>) {
    thread.send(network.thread()).unwrap();
    let Ok(0) = ports.recv() else { panic!("the device is here") };
    set_up(network, "there", "10.1.0.2", "10.1.0.1");
    network.sysctl("ipv4/tcp_timestamps", "0");
    while let Ok(port) = ports.recv() {
        let name = host(0);
        let mut curl = Command::new(need("curl"));
        curl.args(["-sk", "-o", "/dev/null", "-w", "%{http_code} %{size_download} %{time_total}"]);
        curl.args(["--resolve", &format!("{name}:{port}:10.1.0.1")]);
        let done = run(curl.arg(format!("https://{name}:{port}/")), b"");
        let (got, seconds) = done.stdout.rsplit_once(' ').expect("three numbers");
        assert_eq!(got, format!("200 {}", MIB << 20), "{done:?}");
        took.send(seconds.parse().unwrap()).unwrap();
    }
}

fn proxy(mode: &str, backend: &Backend) -> Proxy {
    config(0, "")
        .own("steering", &format!("{{mode: {mode}}}"))
        .addresses(&["127.0.0.1:{port}", "10.1.0.1:{port}"])
        .forward("h0", &backend.url(), "")
        .start()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}

/// A line, and downloads over it, in turns: the seconds in each mode.
fn downloads(network: &Network) -> [Vec<f64>; 2] {
    let line = Process::spawn("line", Command::new(python()).args(["-c", LINE]));
    line.wait_for_text("made");
    let ((thread, there), (port, ports), (took, seconds)) = (channel(), channel(), channel());
    let body = "x".repeat(MIB << 20);
    let backend = Backend::plain(move |conn| {
        while conn.request().is_some() {
            conn.respond(200, &body);
        }
    });
    let server = || {
        network.ip(&format!("link set there netns {}", there.recv().unwrap()));
        set_up(network, "here", "10.1.0.1", "10.1.0.2");
        port.send(0).unwrap();
        let proxies = ["none", "kernel"].map(|mode| proxy(mode, &backend));
        let mut all = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (proxy, all) in proxies.iter().zip(&mut all) {
                port.send(proxy.address().port()).unwrap();
                all.push(seconds.recv().unwrap());
            }
        }
        assert_eq!(segments(&proxies[1], "no_timestamps"), ROUNDS as f64);
        drop(port);
        all
    };
    network.beside(move |network| client(network, &thread, &ports, &took), server).1
}

#[test]
#[ignore = "downloads 100 MiB ten times, as a far client; CONTRIBUTING names the command"]
fn a_far_client_without_timestamps_downloads_as_fast_as_without_steering() {
    in_network(|network| {
        let [none, kernel] = downloads(network);
        println!("{MIB} MiB, 50 ms: none {none:.2?} s, kernel {kernel:.2?} s");
        let ratio = median(kernel) / median(none);
        println!("median of kernel / median of none: {ratio:.3}");
        assert!(ratio <= 1.1, "{ratio}");
    });
}
