//! Hellos of several segments, the first of which is lost, and hellos that arrive twice.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use portcullis_abi::{Verdict, cases::Hello};
use portcullis_tests::netns::{Network, first_of_each_flow};

use crate::stand::{Accepted, Stand, connect, hello, host, in_network};

/// Accepts this number of connections, which must be whole, and answers each.
fn serve(stand: &Stand, count: usize, hello: &[u8]) -> Vec<Accepted> {
    let take = |_| {
        let mut accepted = stand.accept();
        accepted.expect(hello);
        accepted.stream.write_all(b"a").expect("a client that listens");
        accepted
    };
    (0..count).map(take).collect()
}

/// Connects, sends the hello in two writes and waits for the answer.
fn speak(address: SocketAddr, count: usize, first: &[u8], rest: &[u8]) {
    let speak = |_| {
        let mut client = connect(address);
        client.write_all(first).expect("the first segment");
        client.write_all(rest).expect("the second segment");
        client
    };
    let clients: Vec<TcpStream> = (0..count).map(speak).collect();
    for mut client in clients {
        client.read_exact(&mut [0]).expect("an answer, and no reset");
    }
}

#[test]
fn connections_survive_the_loss_of_their_first_segments() {
    in_network(|network| {
        let _ = portcullis::facade::steering::raise_descriptor_limit();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let stand = Stand::new(network, address);
            let hello = hello(&host(1));
            let (first, rest) = hello.split_at(40);
            network.drop_incoming(&[&first_of_each_flow(&of_length(address, 40))]);
            std::thread::scope(|scope| {
                scope.spawn(|| speak(stand.groups[0].address, 1000, first, rest));
                serve(&stand, 1000, &hello);
            });
            network.drop_nothing();
            let lost = stand.count(Verdict::OutOfOrder);
            assert!(lost >= 1000, "{lost} segments came without the one before them");
        }
    });
}

/// The handshake's last ACK is lost too, so that only the SYN tells where the client's bytes begin.
#[test]
fn connections_survive_the_loss_of_ack_and_first_segment() {
    in_network(|network| {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let stand = Stand::new(network, address);
            let hello = hello(&host(1));
            let (first, rest) = hello.split_at(40);
            let port = stand.groups[0].address.port();
            let bare = format!("tcp dport {port} {}", of_length(address, 0));
            network.drop_incoming(&[&bare, &first_of_each_flow(&of_length(address, 40))]);
            std::thread::scope(|scope| {
                scope.spawn(|| speak(stand.groups[0].address, 200, first, rest));
                serve(&stand, 200, &hello);
            });
            network.drop_nothing();
            assert_eq!(stand.count(Verdict::Deferred), 0, "no ACK has come");
            let lost = stand.count(Verdict::OutOfOrder);
            assert!(lost >= 200, "{lost} segments came without the one before them");
        }
    });
}

/// A client whose ACK is lost, and that then probes whether the server is alive.
fn keep_alive_first(network: &Network, stand: &Stand, connected: &TcpStream) {
    network.drop_nothing();
    let keepalive = socket2::TcpKeepalive::new().with_time(std::time::Duration::from_secs(1));
    socket2::SockRef::from(connected).set_tcp_keepalive(&keepalive).unwrap();
    portcullis_tests::wait::until("a keep-alive", || stand.count(Verdict::Deferred) > 0);
}

fn drop_acks_to(network: &Network, address: SocketAddr) {
    let bare = of_length(&address.to_string(), 0);
    network.drop_incoming(&[&format!("tcp dport {} {bare}", address.port())]);
}

fn is_served(stand: &Stand, mut client: TcpStream) {
    let hello = hello(&host(1));
    client.write_all(&hello).unwrap();
    let mut accepted = stand.accept();
    assert_eq!(accepted.worker, 1);
    accepted.expect(&hello);
    accepted.converse(&mut client);
    assert_eq!(stand.count(Verdict::OutOfOrder), 0);
}

#[test]
fn a_keep_alive_in_the_place_of_a_lost_ack_does_no_harm() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        drop_acks_to(network, stand.groups[0].address);
        let client = stand.connect();
        keep_alive_first(network, &stand, &client);
        is_served(&stand, client);
    });
}

/// As if so many other clients had connected meanwhile that its SYN was evicted.
#[test]
fn a_keep_alive_instead_of_a_lost_ack_is_harmless() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let group = crate::stand::Group::listen("127.0.0.1:0");
        drop_acks_to(network, group.address);
        let client = connect(group.address);
        let stand = Stand::around(vec![group], &crate::stand::hosts());
        keep_alive_first(network, &stand, &client);
        is_served(&stand, client);
    });
}

/// Matches segments with this much payload: the headers are Linux's, with timestamps.
fn of_length(address: &str, payload: usize) -> String {
    let headers = if address.starts_with('[') { 40 + 32 } else { 20 + 32 };
    format!("meta length {}", headers + payload)
}

/// A hello that needs two packets, like one with a post-quantum key share.
fn long_hello() -> Vec<u8> {
    Hello::to(host(1).as_bytes()).last(0x0a0a, vec![0; 1600]).record()
}

fn across_a_cable(address: &'static str, other: fn(&Network), verdict: Verdict, at_least: u64) {
    in_network(move |network| {
        let hello = long_hello();
        let (sender, receiver) = std::sync::mpsc::channel::<SocketAddr>();
        let (there, here) = (hello.clone(), hello);
        network.beside(
            move |_| {
                let address = receiver.recv().expect("where to connect");
                speak(address, 100, &there, &[]);
            },
            move || {
                let stand = Stand::new(network, address);
                other(network);
                sender.send(stand.groups[0].address).unwrap();
                let accepted = serve(&stand, 100, &here);
                assert!(stand.count(verdict) >= at_least, "{:?}", stand.kernel.counters());
                drop(accepted);
            },
        );
    });
}

#[test]
fn a_hello_of_two_packets_is_steered_by_the_first() {
    across_a_cable("10.0.0.1:0", |_| (), Verdict::Steered, 100);
    across_a_cable("[fd00::1]:0", |_| (), Verdict::Steered, 100);
}

#[test]
fn a_hello_of_two_packets_survives_the_loss_of_the_first() {
    let lose = |network: &Network| {
        network.drop_incoming(&[&first_of_each_flow("meta length > 1400")]);
    };
    across_a_cable("10.0.0.1:0", lose, Verdict::OutOfOrder, 100);
    across_a_cable("[fd00::1]:0", lose, Verdict::OutOfOrder, 100);
}

#[test]
fn a_first_segment_that_comes_twice_makes_one_connection() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let port = stand.groups[0].address.port();
        let hello = hello(&host(2));
        // After the handshake no ACK of the server arrives, so each client sends its hello again.
        let rule = format!("tcp sport {port} tcp flags & (syn | ack) == ack");
        network.drop_incoming(&[&rule]);
        let mut clients: Vec<TcpStream> = (0..20).map(|_| stand.send(&hello)).collect();
        portcullis_tests::wait::until("segments sent again", || network.retransmitted() >= 20);
        network.drop_nothing();
        serve(&stand, clients.len(), &hello).iter().for_each(|accepted| {
            assert_eq!(accepted.worker, 2);
        });
        for client in &mut clients {
            client.read_exact(&mut [0]).expect("an answer, and no reset");
        }
        assert_eq!(stand.count(Verdict::Steered), 20);
        assert_eq!(stand.worker_for(&host(1)), 1, "no other connection came of it");
    });
}
