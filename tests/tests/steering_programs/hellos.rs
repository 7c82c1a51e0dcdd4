//! Where a connection goes by what its first segment holds.

use portcullis_abi::Verdict;
use portcullis_tests::{netns::private, tools::require_root};

use crate::stand::{Stand, WORKERS, hello, host};

const WHY: &str = "kernel steering needs root";

fn two_hundred_connections(listen: &str, connect: Option<&str>) {
    private(|network| {
        let mut stand = Stand::new(network, listen);
        if let Some(address) = connect {
            let port = stand.groups[0].address.port();
            stand.groups[0].address = format!("{address}:{port}").parse().unwrap();
        }
        for round in 0..200 {
            let worker = round % WORKERS;
            let hello = hello(&host(worker));
            let mut client = stand.send(&hello);
            let mut accepted = stand.accept();
            assert_eq!(accepted.worker, worker, "round {round}");
            accepted.expect(&hello);
            accepted.converse(&mut client);
        }
        assert_eq!(stand.count(Verdict::Steered), 200);
        assert_eq!(stand.count(Verdict::Deferred), 200);
        assert_eq!(stand.count(Verdict::OutOfOrder), 0);
    });
}

#[test]
fn every_connection_over_ipv4_goes_to_its_name_s_worker() {
    if require_root(WHY) {
        two_hundred_connections("127.0.0.1:0", None);
    }
}

#[test]
fn every_connection_over_ipv6_goes_to_its_name_s_worker() {
    if require_root(WHY) {
        two_hundred_connections("[::1]:0", None);
    }
}

#[test]
fn every_connection_over_ipv4_to_an_ipv6_socket_goes_to_its_name_s_worker() {
    if require_root(WHY) {
        two_hundred_connections("[::]:0", Some("127.0.0.1"));
    }
}
