//! The map of names, and its changes under traffic.

use std::{
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
};

use portcullis_abi::{Home, NameKey, Verdict, WorkerSet};

use crate::stand::{Stand, connect, hello, host, hosts, in_network, pinned};

fn suffix(suffix: &str, worker: u32) -> (NameKey, Home) {
    let home = Home::of_name(suffix.as_bytes(), WorkerSet::EMPTY.with(worker));
    (NameKey::of_suffix(suffix.as_bytes()).unwrap(), home)
}

#[test]
fn the_longest_match_wins_and_upper_case_is_the_same_name() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let names = [
            pinned("example.com", 0),
            suffix(".example.com", 1),
            suffix(".deep.example.com", 2),
            pinned("www.deep.example.com", 3),
        ];
        let stand = Stand::on(&["127.0.0.1:0"], &names);
        for (name, worker) in [
            ("example.com", 0),
            ("EXAMPLE.com", 0),
            ("a.example.com", 1),
            ("a.b.example.com", 1),
            ("deep.example.com", 1),
            ("A.DEEP.example.com", 2),
            ("www.deep.example.com", 3),
            ("xwww.deep.example.com", 2),
        ] {
            assert_eq!(stand.worker_for(name), worker, "{name}");
        }
        stand.worker_for("notexample.com");
        stand.worker_for("com");
        assert_eq!(stand.count(Verdict::Steered), 8);
        assert_eq!(stand.count(Verdict::Unknown), 2);
    });
}

#[test]
fn the_empty_suffix_matches_every_name() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let stand = Stand::on(&["127.0.0.1:0"], &[suffix("", 2), pinned("a.example", 1)]);
        assert_eq!(stand.worker_for("whatever.test"), 2);
        assert_eq!(stand.worker_for("a.example"), 1);
        assert_eq!(stand.worker_for("b.example"), 2);
    });
}

#[test]
fn names_are_changed_added_and_removed_in_place() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        let names = [pinned(&host(0), 3), pinned(&host(1), 1), pinned("new.example.com", 2)];
        stand.kernel.set_names(&names).unwrap();
        assert_eq!(stand.worker_for(&host(0)), 3);
        assert_eq!(stand.worker_for(&host(1)), 1);
        assert_eq!(stand.worker_for("new.example.com"), 2);
        stand.worker_for(&host(2));
        assert_eq!(stand.count(Verdict::Unknown), 1);
    });
}

#[test]
fn a_name_that_stays_is_never_missing_while_others_change() {
    in_network(|network| {
        let mut stand = Stand::new(network, "127.0.0.1:0");
        let address = stand.groups[0].address;
        let done = AtomicBool::new(false);
        let Stand { kernel, groups } = &mut stand;
        let connections = std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..300 {
                    let passing = (0..20).map(|n| pinned(&format!("n{n}.r{round}.test"), 1));
                    kernel
                        .set_names(&hosts().into_iter().chain(passing).collect::<Vec<_>>())
                        .unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
            let mut connections = 0;
            while !done.load(Ordering::Relaxed) {
                connect(address).write_all(&hello(&host(2))).unwrap();
                assert_eq!(groups[0].accept().worker, 2);
                connections += 1;
            }
            connections
        });
        assert!(connections > 10);
        assert_eq!(stand.count(Verdict::Steered), connections);
    });
}

#[test]
fn a_hundred_thousand_names_are_held_and_replaced() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let generation = |word: &str| -> Vec<_> {
            (0..100_000).map(|n| suffix(&format!("{n}.{word}.example.com"), n % 4)).collect()
        };
        let mut stand = Stand::on(&["127.0.0.1:0"], &generation("old"));
        assert_eq!(stand.worker_for("77777.old.example.com"), 1);
        stand.kernel.set_names(&generation("new")).unwrap();
        assert_eq!(stand.worker_for("99999.new.example.com"), 3);
        stand.worker_for("77777.old.example.com");
        assert_eq!(stand.count(Verdict::Unknown), 1);
    });
}
