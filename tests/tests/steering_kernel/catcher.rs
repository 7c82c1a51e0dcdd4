//! The SYN catcher: which clients it takes, and what happens when it cannot.

use std::{
    net::SocketAddr,
    process::Command,
    sync::mpsc::{Receiver, Sender, channel},
};

use portcullis_tests::{
    Backend, Load, Proxy, Raw,
    netns::Network,
    process::run,
    steering::{first_choice, outcome},
    tools::{need, python},
    wait::until,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::stand::{config, held, host, in_network, outcomes, segments, visit, worker_of};

fn mode(proxy: &Proxy) -> String {
    proxy.status()["steering"]["mode"].as_str().expect("a mode").to_owned()
}

fn reason(proxy: &Proxy) -> String {
    proxy.status()["steering"]["reason"].as_str().expect("a reason").to_owned()
}

/// Matches SYNs of the proxy to itself, by their segment size.
const OWN_SYNS: &str = "tcp flags & (syn | ack) == syn tcp option maxseg size { 1220, 1300 }";

#[test]
fn a_firewall_that_blocks_held_connections_means_hand_off() {
    in_network(|network| {
        network.drop_incoming(&[OWN_SYNS]);
        let proxy = config(1, "").own("steering", "{mode: auto}");
        let proxy = proxy.addresses(&["127.0.0.1:{port}"]).start();
        assert_eq!((mode(&proxy).as_str(), held(&proxy)), ("handoff", 0.0));
        assert!(reason(&proxy).contains("a firewall may block them"), "{}", reason(&proxy));
        drop(visit(proxy.address(), &host(0), "/handed"));
        assert_eq!(worker_of(&proxy, "/handed"), first_choice(&proxy, &host(0)));
        network.drop_nothing();
        until("kernel steering", || mode(&proxy) == "kernel");
        let before = segments(&proxy, "caught");
        drop(visit(proxy.address(), &host(0), "/steered"));
        assert_eq!(segments(&proxy, "caught"), before + 1.0);
        proxy.assert_no_panic();
    });
}

/// Each of them takes half a second before the next one is tried.
#[test]
fn neither_start_nor_stop_waits_for_addresses_that_a_firewall_blocks() {
    const ADDRESSES: usize = 16;
    in_network(|network| {
        network.drop_incoming(&[OWN_SYNS]);
        let addresses: Vec<_> = (1..=ADDRESSES).map(|n| format!("127.0.0.{n}:{{port}}")).collect();
        let addresses: Vec<_> = addresses.iter().map(String::as_str).collect();
        let mut proxy = config(1, "").addresses(&addresses).start();
        let tried = |proxy: &Proxy| {
            let is_blocked = |line: &&Value| line["problem"].is_string();
            proxy.log().iter().filter(is_blocked).count()
        };
        assert!(tried(&proxy) < ADDRESSES, "it was ready before all were tried");
        drop(visit(proxy.address(), &host(0), "/handed"));
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait().code(), Some(0));
        assert!(tried(&proxy) < ADDRESSES, "it ended before all were tried");
        proxy.assert_no_panic();
    });
}

#[test]
fn an_address_of_another_host_has_no_catcher_until_it_comes() {
    in_network(|network| {
        network.sysctl("ipv4/ip_nonlocal_bind", "1");
        let proxy = config(1, "").addresses(&["127.0.0.1:{port}", "192.0.2.1:{port}"]).start();
        let line = proxy.wait_for_log("the problem", |line| line["level"] == "warn");
        let address = format!("192.0.2.1:{}", proxy.address().port());
        assert_eq!(line["address"], address.as_str(), "{line}");
        assert_eq!(line["problem"], "the address is not one of this host", "{line}");
        let of_one = held(&proxy);
        assert_eq!((mode(&proxy).as_str(), of_one > 0.0), ("kernel", true));
        network.ip("address add 192.0.2.1/32 dev lo");
        until("its catcher", || held(&proxy) == 2.0 * of_one);
        drop(visit(address.parse().unwrap(), &host(0), "/"));
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 1.0)]);
    });
}

#[test]
fn a_sysctl_that_changes_under_load_costs_no_connection() {
    in_network(|network| {
        let backend = Backend::text("x");
        let proxy = config(0, "").forward("h0", &backend.url(), "").start();
        let (load, all) = (Load::start(&proxy, "h0", 6), held(&proxy));
        let set = |name: &str, value: &str, expected: &str| {
            network.sysctl(&format!("ipv4/{name}"), value);
            until(expected, || proxy.status()["steering"]["cookies"] == expected);
            load.wait_for(100);
        };
        for _ in 0..2 {
            set("tcp_syncookies", "0", "none");
            assert_eq!((mode(&proxy).as_str(), held(&proxy)), ("handoff", 0.0));
            assert!(reason(&proxy).contains("net.ipv4.tcp_syncookies is 0"));
            set("tcp_syncookies", "1", "catcher");
            set("tcp_syncookies", "2", "sysctl");
            set("tcp_syncookies", "1", "catcher");
            set("tcp_timestamps", "0", "none");
            set("tcp_timestamps", "1", "catcher");
        }
        load.finish();
        assert_eq!((mode(&proxy).as_str(), held(&proxy)), ("kernel", all));
        proxy.assert_no_panic();
    });
}

/// Sockets of the network that listen at this port.
fn listeners(port: u16) -> usize {
    let port = format!(":{port}");
    let shown = Command::new(need("ss")).args(["-tlnH", "sport", "=", &port]).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().lines().count()
}

/// The next process has attached its programs to the address, and leaves them behind.
#[test]
fn a_process_steers_again_when_its_successor_crashes() {
    in_network(|_| {
        let proxy = config(4, "max_load_percent: 1000").start();
        let mut next = proxy.start_beside(config(4, ""));
        next.signal(Signal::KILL);
        next.wait();
        until("its sockets to be closed", || listeners(proxy.address().port()) == 2 * (4 + 1));
        let visit = |path: &str| drop(visit(proxy.address(), &host(1), path));
        visit("/meanwhile");
        proxy.wait_for_log("the programs", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("are attached again"))
        });
        let before = outcome(&proxy.metrics(), "steered");
        (0..20).for_each(|n| visit(&format!("/{n}")));
        assert_eq!(outcome(&proxy.metrics(), "steered"), before + 20.0);
    });
}

/// Connects from each port of a list, and from as many others, all at once; each sends a request
/// that needs no TLS, and reads the answer. Prints how many got none.
const BURST: &str = "
import select, socket, sys
port, first, count, others = map(int, sys.argv[1:])
waiting, ready = {}, select.poll()
for source in [first + n for n in range(count)] + [0] * others:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    client.bind(('127.0.0.1', source))
    client.setblocking(False)
    client.connect_ex(('127.0.0.1', port))
    waiting[client.fileno()] = client
    ready.register(client, select.POLLOUT)
failed, sent, answered = 0, set(), set()
while waiting:
    for fd, _ in ready.poll():
        client = waiting[fd]
        try:
            if fd not in sent:
                client.send(b'GET / HTTP/1.1\\r\\nhost: a\\r\\n\\r\\n')
                sent.add(fd)
                ready.modify(fd, select.POLLIN)
                continue
            if client.recv(4096):
                answered.add(fd)
                continue
        except OSError:
            pass
        failed += fd not in answered
        sent.discard(fd)
        answered.discard(fd)
        ready.unregister(fd)
        waiting.pop(fd).close()
print(failed)
";

fn burst(proxy: &Proxy, from_ports: usize, others: usize) -> usize {
    let numbers = [usize::from(proxy.address().port()), 10_000, from_ports, others];
    let arguments = numbers.map(|number| number.to_string());
    let done = run(Command::new(python()).args(["-c", BURST]).args(arguments), b"");
    done.stdout.trim().parse().unwrap_or_else(|_| panic!("{done:?}"))
}

/// Their SYNs meet connections in TIME_WAIT, get no cookie and come to the catcher's short queue.
#[test]
fn a_thousand_syns_into_time_wait_disturb_nobody() {
    const EACH: usize = 1000;
    in_network(|_| {
        let proxy = config(1, "").start();
        assert_eq!(burst(&proxy, EACH, 0), 0);
        assert_eq!(burst(&proxy, EACH, EACH), 0);
        let landed = proxy.metrics().sum("portcullis_steering_catcher_connections_total", &[]);
        assert!(landed <= EACH as f64, "{landed}");
        assert_eq!(outcome(&proxy.metrics(), "not_tls"), 3.0 * EACH as f64 - landed);
        proxy.assert_no_panic();
    });
}

#[test]
fn segments_of_loopback_s_size_are_handed_over() {
    in_network(|network| {
        network.ip("link set lo mtu 65536");
        let proxy = config(1, "max_load_percent: 1000").start();
        for (n, address) in [proxy.address(), proxy.address_v6()].into_iter().enumerate() {
            drop(visit(address, &host(0), &format!("/{n}")));
            assert_eq!(worker_of(&proxy, &format!("/{n}")), first_choice(&proxy, &host(0)));
        }
        assert_eq!(segments(&proxy, "segment_size"), 2.0);
        assert_eq!(outcome(&proxy.metrics(), "steered"), 0.0);
    });
}

/// What `ss` says of the one connection with this filter.
fn options(filter: &str) -> String {
    let shown = Command::new(need("ss"))
        .args(["-tinoH", "state", "established"])
        .args(filter.split_whitespace())
        .output()
        .unwrap();
    String::from_utf8(shown.stdout).unwrap()
}

/// Whether the options are used, and the segment size without their own bytes.
#[derive(Debug, PartialEq)]
struct Negotiated {
    timestamps: bool,
    sack: bool,
    window_scale: bool,
    segment_size: u32,
}

fn negotiated(shown: &str) -> Negotiated {
    let words: Vec<&str> = shown.split_whitespace().collect();
    let mss = words.iter().find_map(|word| word.strip_prefix("mss:")).expect(shown);
    Negotiated {
        timestamps: words.contains(&"ts"),
        sack: words.contains(&"sack"),
        window_scale: words.iter().any(|word| word.starts_with("wscale:")),
        segment_size: mss.parse().unwrap(),
    }
}

struct Client {
    to: SocketAddr,
    path: &'static str,
}

/// Connects whenever it is told to, and tells what options its connection has.
fn client(network: &Network, told: &Receiver<(Client, &str)>, options_there: &Sender<String>) {
    while let Ok((Client { to, path }, timestamps)) = told.recv() {
        network.sysctl("ipv4/tcp_timestamps", timestamps);
        let mut raw = Raw::tls(to, &host(0));
        crate::stand::ask(&mut raw, &host(0), path);
        options_there.send(options(&format!("dport = :{}", to.port()))).unwrap();
        told.recv().map(drop).unwrap_or_default(); // keeps the connection until then
        drop(raw);
    }
}

#[test]
fn clients_keep_their_options_with_and_without_timestamps() {
    in_network(|network| {
        let (tell, told) = channel();
        let (options_there, received) = channel();
        network.beside(
            move |there| client(there, &told, &options_there),
            move || {
                let proxy = config(1, "max_load_percent: 1000")
                    .addresses(&["127.0.0.1:{port}", "10.0.0.1:{port}", "[fd00::1]:{port}"])
                    .start();
                let port = proxy.address().port();
                let cases = [
                    ("10.0.0.1", "1", "/4/with", 1448),
                    ("10.0.0.1", "0", "/4/without", 1460),
                    ("[fd00::1]", "1", "/6/with", 1428),
                    ("[fd00::1]", "0", "/6/without", 1440),
                ];
                for (address, timestamps, path, segment_size) in cases {
                    let to = format!("{address}:{port}").parse().unwrap();
                    tell.send((Client { to, path }, timestamps)).unwrap();
                    let there = negotiated(&received.recv().unwrap());
                    let here = negotiated(&options(&format!("sport = :{port}")));
                    let timestamps = timestamps == "1";
                    let expected =
                        Negotiated { timestamps, sack: true, window_scale: true, segment_size };
                    assert_eq!((&here, &there), (&expected, &expected), "{path}");
                    assert_eq!(worker_of(&proxy, path), first_choice(&proxy, &host(0)), "{path}");
                    let to = format!("{address}:{port}").parse().unwrap();
                    tell.send((Client { to, path: "" }, "1")).unwrap(); // ends the connection
                }
                assert_eq!(outcome(&proxy.metrics(), "steered"), 2.0);
                assert_eq!(segments(&proxy, "no_timestamps"), 2.0);
                drop(tell);
            },
        );
    });
}
