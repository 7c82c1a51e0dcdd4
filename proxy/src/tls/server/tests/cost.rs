//! What a handshake costs the server. Not a test of anything: a measurement, to be run alone by
//! `cargo test --release -p portcullis --lib cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use rcgen::PKCS_ECDSA_P384_SHA384;
use rustls::{ClientConnection, ServerConnection, pki_types::ServerName};

use super::*;
use crate::tls::{context::with_context, memory};

const ROUNDS: usize = 2_000;

/// The server's share of the time of one handshake, full or not.
fn served_in(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> (Duration, HandshakeKind) {
    let mut client =
        ClientConnection::new(Arc::clone(client), ServerName::try_from(NAME).unwrap()).unwrap();
    let mut context = ConnectionContext::new(Some(NAME));
    let mut took = Duration::ZERO;
    let start = Instant::now();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    took += start.elapsed();
    while client.wants_write() || server.wants_write() {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let start = Instant::now();
        let mut answer = Vec::new();
        with_context(&mut context, || {
            let mut flight = flight.as_slice();
            while !flight.is_empty() {
                server.read_tls(&mut flight).unwrap();
                server.process_new_packets().unwrap();
            }
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
        });
        took += start.elapsed();
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            client.read_tls(&mut answer).unwrap();
            client.process_new_packets().unwrap();
        }
    }
    (took, server.handshake_kind().unwrap())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1e6
}

fn measure(what: &str, bench: &Bench, client: &Issued) {
    let server = bench.server();
    let mut full = bench.client_with(provider(), &TLS13, Some(client.identity()));
    full.resumption = rustls::client::Resumption::disabled();
    let full = Arc::new(full);
    let resuming = bench.client(&TLS13, Some(client.identity()));
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        memory::forget_all();
        times[0].push(served_in(&full, &server).0);
        times[1].push(served_in(&full, &server).0);
        if let (took, HandshakeKind::Resumed) = served_in(&resuming, &server) {
            times[2].push(took);
        }
    }
    let [first, returning, resumed] = times.map(median);
    println!(
        "{what}: first {first:.0} µs, returning {returning:.0} µs ({:.2} of it), resumed {resumed:.0} µs",
        returning / first
    );
}

#[test]
#[ignore = "prints a measurement and proves nothing: cargo test --release -- --ignored --nocapture"]
fn cost_of_handshakes_with_client_certificates() {
    let mut bench = Bench::with_client_auth();
    measure("P-256, issued by the root", &bench, &bench.root.issue(client_leaf()));
    bench.change(|trust| trust.max_verify_depth = 2);
    let intermediate = bench.root.issue(ca("an intermediate"));
    measure("P-256, over an intermediate", &bench, &intermediate.issue(client_leaf()));

    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let root = crate::tls::testing::self_signed_with(ca("a root on P-384"), key);
    bench.demand(root.anchors(), 1);
    measure("P-256, issued by a P-384 root", &bench, &root.issue(client_leaf()));

    let mut open = Bench::new();
    open.clock = Arc::clone(&bench.clock);
    measure("no client certificate asked for", &open, &bench.root.issue(client_leaf()));
}
