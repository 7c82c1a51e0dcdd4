//! Connections that the kernel does not answer with a cookie.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use portcullis_abi::Verdict;
use portcullis_tests::netns::Network;
use socket2::{Domain, Socket, Type};

use crate::stand::{Stand, WORKERS, hello, host, hosts, in_network};

/// The number of connections, out of a hundred, that reached the worker of their name.
fn at_home(network: &Network, syncookies: &str) -> usize {
    network.sysctl("ipv4/tcp_syncookies", syncookies);
    let stand = Stand::on(&["127.0.0.1:0"], &hosts());
    let workers = (0..100).map(|round| round % WORKERS);
    workers.filter(|worker| stand.worker_for(&host(*worker)) == *worker).count()
}

#[test]
fn without_cookies_connections_are_whole_and_placed_by_chance() {
    in_network(|network| {
        for syncookies in ["0", "1"] {
            let at_home = at_home(network, syncookies);
            assert!((5..60).contains(&at_home), "{at_home} with tcp_syncookies={syncookies}");
        }
        assert_eq!(at_home(network, "2"), 100);
    });
}

/// Like a client that reuses the same port at once.
fn connect_from(port: u16, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    socket.connect(&address.into()).expect("a connection from a port that was used");
    socket.into()
}

/// The server closed first, so the four-tuple is in TIME_WAIT on its side: the kernel accepts a SYN
/// for it without a cookie, and chooses the listener by the SYN. The proxy must detect that and
/// hand such connections off.
#[test]
fn a_syn_into_time_wait_bypasses_steering() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let address = stand.groups[0].address;
        let hello = hello(&host(1));
        let connect = |port| {
            let mut client = connect_from(port, address);
            client.write_all(&hello).unwrap();
            let mut accepted = stand.accept();
            accepted.expect(&hello);
            accepted.converse(&mut client);
            let worker = accepted.worker;
            drop(accepted);
            assert_eq!(client.read(&mut [0]).unwrap(), 0, "the server closes first");
            worker
        };
        let ports = 20_000..20_064;
        assert!(ports.clone().all(|port| connect(port) == 1));
        assert_eq!(stand.count(Verdict::Steered), 64);
        let elsewhere = ports.filter(|port| connect(*port) != 1).count();
        assert_eq!(stand.count(Verdict::Steered), 64, "none of them was steered");
        assert!(elsewhere > 30, "{elsewhere} of 64 went where their SYN did");
    });
}
