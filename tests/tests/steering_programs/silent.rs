//! Clients that connect and send nothing, for a while or forever.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use portcullis_abi::{SteeringSettings, Verdict};
use portcullis_tests::wait::until;

use crate::stand::{SETTINGS, Stand, hello, host, in_network};

#[test]
fn a_client_that_only_connects_is_not_accepted_until_it_speaks() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let mut silent: Vec<_> = (0..100).map(|_| stand.connect()).collect();
        assert_eq!(stand.count(Verdict::Deferred), 100);
        // The first accepted connection is the first one that sent data.
        assert_eq!(stand.worker_for(&host(3)), 3);
        let hello = hello(&host(1));
        for client in &mut silent {
            client.write_all(&hello).unwrap();
            let mut accepted = stand.accept();
            assert_eq!(accepted.worker, 1);
            accepted.expect(&hello);
            accepted.converse(client);
        }
        assert_eq!(network.retransmitted(), 0);
    });
}

#[test]
fn after_close_only_earlier_connections_are_served() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        in_network(move |network| {
            let mut stand = Stand::new(network, address);
            let mut connected = stand.connect();
            stand.kernel.set_settings(SteeringSettings { closed: 1, ..SETTINGS }).unwrap();
            let refused = TcpStream::connect(stand.groups[0].address).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            assert_eq!(stand.count(Verdict::Closed), 1);
            connected.write_all(&hello(&host(2))).unwrap();
            let mut accepted = stand.accept();
            assert_eq!(accepted.worker, 2);
            accepted.expect(&hello(&host(2)));
            accepted.converse(&mut connected);
        });
    }
}

#[test]
fn a_client_that_leaves_without_a_word_is_done_with_at_once() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        in_network(move |network| {
            let stand = Stand::new(network, address);
            for _ in 0..20 {
                let mut client = stand.connect();
                client.shutdown(Shutdown::Write).unwrap();
                let mut accepted = stand.accept();
                assert_eq!(accepted.stream.read(&mut [0]).unwrap(), 0, "the client's end");
                drop(accepted);
                assert_eq!(client.read(&mut [0]).unwrap(), 0, "the answer to it");
            }
            assert_eq!(network.retransmitted(), 0);
        });
    }
}

#[test]
fn a_client_that_resets_leaves_nothing_behind() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        for _ in 0..20 {
            let client = socket2::Socket::from(stand.connect());
            client.set_linger(Some(Duration::ZERO)).unwrap();
        }
        assert_eq!(stand.worker_for(&host(1)), 1);
    });
}

#[test]
fn a_keep_alive_before_the_hello_does_no_harm() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let mut client = stand.connect();
        let keepalive = socket2::TcpKeepalive::new().with_time(Duration::from_secs(1));
        socket2::SockRef::from(&client).set_tcp_keepalive(&keepalive).unwrap();
        until("a keep-alive", || stand.count(Verdict::Deferred) > 1);
        let hello = hello(&host(1));
        client.write_all(&hello).unwrap();
        let mut accepted = stand.accept();
        assert_eq!(accepted.worker, 1);
        accepted.expect(&hello);
        accepted.converse(&mut client);
        assert_eq!(stand.count(Verdict::OutOfOrder), 0);
    });
}
