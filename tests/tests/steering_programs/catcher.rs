//! A catcher beside the workers' sockets: what the program sends there, and what not.
//!
//! Its queue is never full here, so that a SYN that comes there is a connection there.

use std::{
    io::{ErrorKind, Write as _},
    net::TcpListener,
    os::fd::AsFd as _,
};

use portcullis_abi::{SteeringSettings, Verdict};
use portcullis_tests::{netns::Network, wait::until};

use crate::stand::{SETTINGS, Stand, WORKERS, connect, hello, host, hosts, in_network};

/// Programs that catch, and the catcher.
fn catching(network: &Network, address: &str) -> (Stand, TcpListener) {
    network.ip("link set lo mtu 1500"); // a cookie does not keep loopback's segment size
    let mut stand = Stand::on(&[address], &hosts());
    stand.kernel.set_settings(SteeringSettings { catching: 1, ..SETTINGS }).unwrap();
    let catcher = stand.groups[0].beside();
    stand.kernel.filter(catcher.as_fd()).unwrap();
    stand.kernel.use_catcher(0, Some(catcher.as_fd())).unwrap();
    (stand, catcher)
}

fn is_empty(catcher: &TcpListener) -> bool {
    catcher.accept().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

const ADDRESSES: [&str; 2] = ["127.0.0.1:0", "[::1]:0"];

#[test]
fn syns_that_lose_nothing_go_to_the_catcher() {
    in_network(|network| {
        for address in ADDRESSES {
            let (stand, catcher) = catching(network, address);
            for round in 1..=50 {
                let client = stand.connect();
                until("it to be accepted", || catcher.accept().is_ok());
                assert_eq!(stand.count(Verdict::Caught), round);
                drop(client);
            }
            assert_eq!(stand.count(Verdict::Deferred), 0, "the kernel keeps requests for them");
        }
    });
}

/// Their handshakes are ordinary: they are accepted before they send anything.
#[test]
fn clients_that_would_lose_by_a_cookie_go_to_workers() {
    in_network(|network| {
        for address in ADDRESSES {
            let (stand, catcher) = catching(network, address);
            for (verdict, timestamps, mtu) in
                [(Verdict::NoTimestamps, "0", "1500"), (Verdict::SegmentSize, "1", "65536")]
            {
                network.sysctl("ipv4/tcp_timestamps", timestamps);
                network.ip(&format!("link set lo mtu {mtu}"));
                let mut workers = [0; WORKERS as usize];
                for _ in 0..100 {
                    let client = stand.connect();
                    workers[stand.accept().worker as usize] += 1;
                    drop(client);
                }
                assert_eq!(stand.count(verdict), 100);
                assert!(workers.iter().all(|count| *count > 5), "{workers:?}");
            }
            assert!(is_empty(&catcher));
            assert_eq!(stand.count(Verdict::Deferred), 0);
        }
    });
}

#[test]
fn a_catcher_that_is_not_in_use_gets_no_segment() {
    in_network(|network| {
        for address in ADDRESSES {
            let (mut stand, catcher) = catching(network, address);
            stand.kernel.use_catcher(0, None).unwrap();
            for round in 0..200 {
                stand.worker_for(&host(round % WORKERS));
            }
            assert!(is_empty(&catcher));
            assert_eq!(
                (stand.count(Verdict::Caught), stand.count(Verdict::Passed) >= 200),
                (0, true)
            );
        }
    });
}

/// The kernel looks a listener up for a FIN too, if cookies are sent for every SYN.
#[test]
fn a_client_that_leaves_without_a_word_reaches_no_catcher() {
    in_network(|network| {
        for address in ADDRESSES {
            let (stand, catcher) = catching(network, address);
            network.sysctl("ipv4/tcp_syncookies", "2");
            for _ in 0..100 {
                drop(stand.connect());
                let accepted = stand.accept();
                assert!(accepted.worker < WORKERS);
            }
            assert!(is_empty(&catcher));
            assert_eq!(stand.count(Verdict::Deferred), 100);
            network.sysctl("ipv4/tcp_syncookies", "1");
        }
    });
}

#[test]
fn data_goes_to_the_worker_of_its_name_and_never_to_the_catcher() {
    in_network(|network| {
        for address in ADDRESSES {
            let (stand, catcher) = catching(network, address);
            network.sysctl("ipv4/tcp_syncookies", "2");
            for round in 0..100 {
                assert_eq!(stand.worker_for(&host(round % WORKERS)), round % WORKERS);
            }
            stand.kernel.slots().iter().for_each(|slot| slot.set_available(false));
            for _ in 0..50 {
                let mut client = stand.send(&hello(&host(1)));
                let mut accepted = stand.accept();
                accepted.expect(&hello(&host(1)));
                accepted.converse(&mut client);
            }
            assert_eq!(stand.count(Verdict::SelectFailed), 50);
            assert!(is_empty(&catcher));
            network.sysctl("ipv4/tcp_syncookies", "1");
        }
    });
}

/// The kernel offers the program one socket of all that listen at an address, over IPv6 the oldest.
#[test]
fn sockets_of_another_process_do_not_hinder_steering() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        for address in ADDRESSES {
            let former = Stand::on(&[address], &hosts());
            let address = former.groups[0].address;
            let stand = Stand::on(&[&address.to_string()], &hosts());
            for round in 0..100 {
                let mut client = connect(address);
                client.write_all(&hello(&host(round % WORKERS))).unwrap();
                let mut accepted = stand.accept();
                assert_eq!(accepted.worker, round % WORKERS);
                accepted.converse(&mut client);
            }
            assert_eq!(stand.count(Verdict::Steered), 100);
        }
    });
}
