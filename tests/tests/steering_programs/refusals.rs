//! Names that no route serves.

use std::io::{ErrorKind, Read, Write};

use portcullis_abi::{SteeringSettings, Verdict};

use crate::stand::{SETTINGS, Stand, hello, host, in_network};

const REFUSING: SteeringSettings = SteeringSettings { refuse_unknown: 1, ..SETTINGS };

#[test]
fn an_unknown_name_goes_by_flow_where_it_is_accepted() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        stand.worker_for("other.example.net");
        assert_eq!(stand.count(Verdict::Unknown), 1);
    });
}

#[test]
fn without_a_name_in_the_map_all_are_unknown_and_served() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let stand = Stand::on(&["127.0.0.1:0"], &[]);
        stand.worker_for(&host(0));
        assert_eq!(stand.count(Verdict::Unknown), 1);
    });
}

fn an_unknown_name_is_reset(address: &'static str) {
    in_network(move |network| {
        let mut stand = Stand::new(network, address);
        stand.kernel.set_settings(REFUSING).unwrap();
        let mut client = stand.connect();
        // The reset may arrive before the call returns.
        let _ = client.write_all(&hello("other.example.net"));
        let ended = client.read(&mut [0]).unwrap_err();
        assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
        assert_eq!(stand.count(Verdict::UnknownRefused), 1);
        // It was not accepted: the next connection is the first that is accepted.
        assert_eq!(stand.worker_for(&host(2)), 2);
    });
}

#[test]
fn an_unknown_name_is_reset_where_it_is_refused_over_ipv4() {
    an_unknown_name_is_reset("127.0.0.1:0");
}

#[test]
fn an_unknown_name_is_reset_where_it_is_refused_over_ipv6() {
    an_unknown_name_is_reset("[::1]:0");
}

#[test]
fn what_cannot_be_read_is_not_refused() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        stand.kernel.set_settings(REFUSING).unwrap();
        let other = hello("other.example.net");
        for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], &other[..60], &other[..1]] {
            let mut client = stand.send(first);
            stand.accept().converse(&mut client);
        }
        assert_eq!(stand.count(Verdict::UnknownRefused), 0);
    });
}

#[test]
fn refusing_can_be_switched_off_again() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        stand.kernel.set_settings(REFUSING).unwrap();
        stand.kernel.set_settings(SETTINGS).unwrap();
        stand.worker_for("other.example.net");
    });
}
