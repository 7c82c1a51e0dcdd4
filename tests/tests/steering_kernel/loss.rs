//! Hellos of two segments, the first of which is lost.

use portcullis_tests::{Raw, netns::first_of_each_flow, raw::TlsOptions};

use crate::stand::{ask, config, host, in_network, outcomes};

/// Matches segments with this much payload over IPv4: the headers are Linux's, with timestamps.
fn of_length(payload: usize) -> String {
    format!("meta length {}", 20 + 32 + payload)
}

/// No other segment of the test is so long.
const FIRST: usize = 33;

#[test]
fn every_fourth_connection_survives_a_lost_first_segment() {
    const CLIENTS: usize = 20;
    const EACH: usize = 50;
    const LOST: u64 = 250;
    in_network(|network| {
        let proxy = config(CLIENTS, "max_load_percent: 1000").start();
        let first = format!("tcp dport {} {}", proxy.address().port(), of_length(FIRST));
        network.drop_incoming(&[&format!("{} numgen inc mod 4 0", first_of_each_flow(&first))]);
        let config = TlsOptions::name("resumed").alpn("http/1.1").config();
        std::thread::scope(|scope| {
            for host in (0..CLIENTS).map(host) {
                let (proxy, config) = (&proxy, &config);
                scope.spawn(move || {
                    for _ in 0..EACH {
                        let raw = Raw::tcp(proxy.address());
                        let raw = raw.start_tls_split(&host, config, |_| FIRST);
                        ask(&mut raw.unwrap_or_else(|end| panic!("{end:?}")), &host, "/");
                    }
                });
            }
        });
        let metrics = proxy.metrics();
        let sum = |name, outcome| metrics.sum(name, &[("outcome", outcome)]);
        // Retransmitted bytes are sent as one segment.
        let whole = sum("portcullis_steering_connections_total", "steered");
        let split = sum("portcullis_steering_connections_total", "truncated");
        assert_eq!((whole + split, whole > 100.0), (1000.0, true), "{:?}", outcomes(&metrics));
        let ahead = sum("portcullis_steering_segments_total", "out_of_order");
        assert!(ahead >= LOST as f64, "{ahead} came without the one before them");
        assert!(network.retransmitted() >= LOST);
        proxy.assert_no_panic();
    });
}
