//! The worker of a connection, by the contents of its first segment.

use std::io::{Read, Write};

use portcullis_abi::{Outcome, Verdict, cases};

use crate::stand::{Stand, WORKERS, connect, hello, host, in_network, pinned};

fn two_hundred_connections(listen: &'static str, connect: Option<&'static str>) {
    in_network(move |network| {
        let mut stand = Stand::new(network, listen);
        if let Some(address) = connect {
            let port = stand.groups[0].address.port();
            stand.groups[0].address = format!("{address}:{port}").parse().unwrap();
        }
        for round in 0..200 {
            assert_eq!(stand.worker_for(&host(round % WORKERS)), round % WORKERS);
        }
        assert_eq!(stand.count(Verdict::Steered), 200);
        assert_eq!(stand.count(Verdict::Deferred), 200);
        assert_eq!(stand.count(Verdict::OutOfOrder), 0);
        assert_eq!(network.retransmitted(), 0);
    });
}

#[test]
fn every_connection_over_ipv4_goes_to_its_name_s_worker() {
    two_hundred_connections("127.0.0.1:0", None);
}

#[test]
fn every_connection_over_ipv6_goes_to_its_name_s_worker() {
    two_hundred_connections("[::1]:0", None);
}

#[test]
fn ipv4_connections_to_ipv6_sockets_reach_their_names_worker() {
    two_hundred_connections("[::]:0", Some("127.0.0.1"));
}

#[test]
fn each_address_has_its_own_sockets_for_the_same_workers() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let addresses = ["127.0.0.1:0", "[::1]:0", "127.0.0.2:0"];
        let stand = Stand::on(&addresses, &[pinned("app.example.com", 2)]);
        for group in &stand.groups {
            for _ in 0..20 {
                let mut client = connect(group.address);
                client.write_all(&hello("app.example.com")).unwrap();
                let mut accepted = group.accept();
                assert_eq!(accepted.worker, 2, "{}", group.address);
                assert_eq!(accepted.stream.local_addr().unwrap(), group.address);
                accepted.converse(&mut client);
            }
        }
        assert_eq!(stand.count(Verdict::Steered), 60);
    });
}

#[test]
fn steering_time_is_reported_while_the_kernel_counts_it() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let counting = aya::sys::enable_stats(aya::sys::Stats::RunTime).unwrap();
        (0..10).for_each(|_| assert_eq!(stand.worker_for(&host(1)), 1));
        drop(counting);
        // Once for the SYN, for the bare ACK, and for the hello.
        let (runs, time) = stand.kernel.run_time().expect("runs that were counted");
        assert!(runs >= 30 && !time.is_zero(), "{runs} runs in {time:?}");
    });
}

/// The table of hellos that all parser tests use: here each hello is a connection, and its first
/// segment is a segment.
#[test]
fn the_kernel_treats_every_hello_as_the_table_says() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let cases: Vec<_> =
            cases::all().into_iter().filter(|case| case.first_segment > 0).collect();
        let (mut stand, mut sent) = (Stand::on(&["127.0.0.1:0"], &[]), 0);
        for case in &cases {
            let (outcome, name) = case.kernel;
            let verdict = match outcome {
                Outcome::Name => Verdict::Steered,
                Outcome::NoName => Verdict::NoSni,
                Outcome::Truncated => Verdict::Truncated,
                Outcome::NotTls => Verdict::NotTls,
                Outcome::Unsupported => Verdict::Unsupported,
            };
            if outcome == Outcome::Name {
                stand.kernel.set_names(&[pinned(name, 3)]).unwrap();
            }
            let before = stand.count(verdict);
            let (first, rest) = case.bytes.split_at(case.first_segment);
            let mut client = stand.send(first);
            let mut accepted = stand.accept();
            assert_eq!(stand.count(verdict), before + 1, "{}: not {verdict:?}", case.title);
            assert!(outcome != Outcome::Name || accepted.worker == 3, "{}", case.title);
            client.write_all(rest).unwrap();
            accepted.expect(&case.bytes);
            accepted.converse(&mut client);
            sent += 1;
        }
        assert!(sent > 30, "{sent} of the table's cases");
        assert_eq!(stand.count(Verdict::OutOfOrder), 0);
    });
}

#[test]
fn a_split_hello_is_steered_by_flow_and_arrives_whole() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let hello = hello(&host(1));
        let in_name = hello.windows(4).position(|bytes| bytes == b"exam").unwrap();
        for at in [1, 5, 43, in_name] {
            let (first, rest) = hello.split_at(at);
            let mut client = stand.send(first);
            let mut accepted = stand.accept();
            client.write_all(rest).unwrap();
            accepted.expect(&hello);
            accepted.converse(&mut client);
        }
        assert_eq!(stand.count(Verdict::Truncated), 4);
    });
}

#[test]
fn what_goes_by_flow_is_spread_over_the_workers() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let mut counts = [0_u32; WORKERS as usize];
        for _ in 0..200 {
            let mut client = stand.send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n");
            let mut accepted = stand.accept();
            stand.kernel.slots()[accepted.worker as usize].take();
            counts[accepted.worker as usize] += 1;
            accepted.converse(&mut client);
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
        assert_eq!(stand.count(Verdict::NotTls), 200);
    });
}

#[test]
fn much_data_passes_a_filter_that_an_accepted_socket_still_has() {
    in_network(|network| {
        let stand = Stand::new(network, "127.0.0.1:0");
        let mut client = stand.send(&hello(&host(1)));
        let accepted = stand.accept();
        let much = vec![7; 8 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| (&accepted.stream).write_all(&much).unwrap());
            let mut received = vec![0; much.len()];
            client.read_exact(&mut received).unwrap();
        });
    });
}
