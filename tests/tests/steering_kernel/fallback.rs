//! Connections that the programs could not steer: the worker that accepts them reads their whole
//! hello and hands them off.

use std::{
    io::Read,
    net::{SocketAddr, TcpStream},
};

use portcullis_tests::{
    Raw,
    openssl::{SClient, get},
    pki,
    proxy::Config,
    raw::{TlsOptions, read_chain},
    steering::{first_choice, outcome},
    wait::{DEADLINE, until},
    wire::End,
};
use socket2::{Domain, Socket, Type};

use crate::stand::{DOMAIN, ask, config, host, in_network, outcomes, visit, with_host, worker_of};

/// The position at which a hello is split.
type Split = fn(&[u8]) -> usize;

/// A position at which the first segment contains no name.
const SPLITS: [(&str, Split); 3] = [("byte", |_| 1), ("header", |_| 5), ("name", inside_the_name)];

fn inside_the_name(hello: &[u8]) -> usize {
    let domain = hello.windows(DOMAIN.len()).position(|bytes| bytes == DOMAIN.as_bytes());
    domain.expect("a name") + 3
}

/// Eight hosts with one certificate, and one with another.
fn two_certificates() -> Config {
    let config = with_host(config(8, "max_load_percent: 1000"), &exact());
    config.certificates(&["elsewhere", "server", "exact"].map(|name| pki().pair(name)))
}

fn exact() -> String {
    format!("exact.{DOMAIN}")
}

#[test]
fn a_split_hello_gets_its_names_worker_and_certificate() {
    in_network(|_| {
        let proxy = two_certificates().start();
        let hosts: Vec<String> = (0..8).map(host).chain([exact()]).collect();
        let options = TlsOptions::name("any").alpn("http/1.1").config();
        let mut sent = 0.0;
        for address in [proxy.address(), proxy.address_v6()] {
            for (title, at) in SPLITS {
                for host in &hosts {
                    let raw = Raw::tcp(address).start_tls_split(host, &options, at);
                    let mut raw = raw.unwrap_or_else(|end| panic!("{title} {host}: {end:?}"));
                    let pair = if *host == exact() { "exact" } else { "server" };
                    let leaf = read_chain(&pki().pair(pair).cert).remove(0);
                    assert_eq!(raw.server_certificate(), leaf, "{title} {host}");
                    let path = format!("/{title}/{host}/{}", address.is_ipv6());
                    ask(&mut raw, host, &path);
                    assert_eq!(worker_of(&proxy, &path), first_choice(&proxy, host), "{path}");
                    sent += 1.0;
                }
            }
        }
        let metrics = proxy.metrics();
        assert_eq!(outcome(&metrics, "truncated"), sent);
        assert_eq!(outcome(&metrics, "steered"), 0.0);
        // One in four was accepted by its own worker by chance.
        let handed = outcome(&metrics, "handed_off");
        assert!(sent * 0.5 < handed && handed < sent, "{:?}", outcomes(&metrics));
        proxy.assert_no_panic();
    });
}

#[test]
fn a_hello_in_tiny_records_goes_to_its_names_worker() {
    in_network(|_| {
        let proxy = config(8, "max_load_percent: 1000").start();
        for n in 0..8 {
            let raw = Raw::dribble(proxy.address(), &host(n), 64);
            let mut raw = raw.unwrap_or_else(|end| panic!("{end:?}"));
            let path = format!("/{n}");
            ask(&mut raw, &host(n), &path);
            assert_eq!(worker_of(&proxy, &path), first_choice(&proxy, &host(n)));
        }
        assert_eq!(outcome(&proxy.metrics(), "truncated"), 8.0);
    });
}

#[test]
fn without_sni_the_first_certificate_is_served() {
    in_network(|_| {
        let proxy = two_certificates().start();
        for _ in 0..4 {
            let client = SClient::nameless(proxy.address()).args(["-showcerts"]);
            let shown = client.run(&get(&host(0))).stdout;
            assert!(shown.contains("301 Moved"), "{shown}");
            let pem = std::fs::read_to_string(pki().pair("elsewhere").cert).unwrap();
            assert!(shown.contains(pem.split("-----END").next().unwrap().trim()), "{shown}");
        }
        assert_eq!(outcomes(&proxy.metrics()), [("no_sni", 4.0)]);
    });
}

/// Traefik's CVE-2026-32305: a hello in pieces was treated as one without a name, and got a default
/// without client authentication.
#[test]
fn a_hello_that_is_split_gets_no_weaker_policy() {
    in_network(|_| {
        let proxy = config(4, "max_load_percent: 1000").reject_connection(&pki().ca()).start();
        let stranger = TlsOptions::name("any").alpn("http/1.1");
        let user = stranger.clone().client(pki().client()).config();
        let stranger = stranger.config();
        for (title, at) in SPLITS {
            for n in 0..4 {
                let connect =
                    |config| Raw::tcp(proxy.address()).start_tls_split(&host(n), config, at);
                let refused = connect(&stranger).map(Raw::to_end);
                let end = refused.map_or_else(|end| end, |answer| answer.end);
                assert_eq!(end, End::Alert(116), "certificate_required for {title}, {n}");
                ask(&mut connect(&user).unwrap(), &host(n), "/");
            }
        }
        until("a record of each", || proxy.count_log("listener connection failure") == 12);
    });
}

/// Like a client that reuses the same port at once.
fn connect_from(port: u16, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.connect_timeout(&address.into(), DEADLINE).expect("a port that was used");
    socket.into()
}

/// The kernel accepts a SYN for a connection in TIME_WAIT without a cookie: the connection is
/// accepted where the SYN was sent, at the catcher.
#[test]
fn a_connection_from_a_port_in_time_wait_is_handed_over() {
    in_network(|_| {
        let proxy = config(1, "max_load_percent: 1000").start();
        let (host, home) = (host(0), first_choice(&proxy, &host(0)));
        let visit_from = |port: u16, path: &str| {
            let tcp = connect_from(port, proxy.address());
            let mut end = tcp.try_clone().unwrap();
            let mut raw = Raw::over(tcp).start_tls(&host).unwrap_or_else(|end| panic!("{end:?}"));
            raw.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            let answer = raw.to_end();
            assert_eq!((&answer.end, answer.response().status), (&End::Clean, 301), "{answer:?}");
            // The side that closes first has the TIME_WAIT: here the server.
            assert_eq!(end.read(&mut [0]).unwrap(), 0);
            assert_eq!(worker_of(&proxy, path), home, "{path}");
        };
        // Below the ports that a proxy may get.
        let ports = 10_000..10_032;
        ports.clone().for_each(|port| visit_from(port, &format!("/first/{port}")));
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 32.0)]);
        ports.for_each(|port| visit_from(port, &format!("/again/{port}")));
        let metrics = proxy.metrics();
        assert_eq!(outcome(&metrics, "steered"), 32.0, "the programs saw none of them");
        assert_eq!(metrics.sum("portcullis_steering_catcher_connections_total", &[]), 32.0);
        // The first worker accepts there.
        let handed = if home == 0 { 0.0 } else { 32.0 };
        assert_eq!(outcome(&metrics, "handed_off"), handed);
        drop(visit(proxy.address(), &host, "/fresh"));
        assert_eq!(outcome(&proxy.metrics(), "steered"), 33.0);
    });
}
