//! Hellos that are larger than a packet, as those of Chrome: the program sees the first segment, and
//! steers by it if the name is there.

use std::{
    io::{Read, Write},
    sync::mpsc,
};

use portcullis_abi::{HostName, Outcome, SplitMix64, Verdict, cases::Hello, sni};

use crate::stand::{Stand, connect, hello, host, hosts, in_network};

const HELLOS: usize = 120;
/// The data in a packet of 1,500 bytes: less 20 bytes of IP, and 32 of TCP with timestamps.
const SEGMENT: usize = 1448;

/// Hellos of 1,950 bytes with the extensions of Chrome 140 in random order: X25519MLKEM768 and
/// X25519 in the key share, ECH, and others.
fn chrome() -> Vec<Vec<u8>> {
    const SIZES: [(u16, usize); 14] = [
        (51, 1263),
        (0xfe0d, 282),
        (13, 18),
        (10, 12),
        (43, 7),
        (16, 14),
        (17613, 5),
        (27, 3),
        (5, 5),
        (45, 2),
        (11, 2),
        (0xff01, 1),
        (23, 0),
        (18, 0),
    ];
    let mut random = SplitMix64::new(20_261_201);
    let mut one = || {
        let mut hello = Hello::to(host(1).as_bytes());
        hello.extensions.truncate(1);
        hello.extensions.extend(SIZES.map(|(kind, len)| (kind, vec![0; len])));
        for at in (1..hello.extensions.len()).rev() {
            hello.extensions.swap(at, random.below(at as u64 + 1) as usize);
        }
        let len = hello.record().len();
        // What a browser's other fields take: a session ID, cipher suites, a longer name.
        hello.last(21, vec![0; 1950 - len - 4]).record()
    };
    (0..HELLOS).map(|_| one()).collect()
}

/// The number of hellos whose first segment contains the name.
fn named(hellos: &[Vec<u8>]) -> u64 {
    let is_named =
        |hello: &&Vec<u8>| sni(&hello[..SEGMENT], 0, &mut HostName::EMPTY.clone()) == Outcome::Name;
    hellos.iter().filter(is_named).count() as u64
}

/// Sends the hellos over a cable; returns how many the program steered by name, and how many it
/// sent anywhere because the name was not in the segment. `None` without root.
fn send(hellos: &[Vec<u8>], large_packets: bool, merging: bool) -> Option<(u64, u64)> {
    let (tell, told) = mpsc::channel();
    let mut counts = None;
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "2");
        let clients = |there: &portcullis_tests::netns::Network| {
            there.send_large_packets(large_packets);
            let address = told.recv().expect("an address");
            for hello in hellos {
                let mut client = connect(address);
                client.write_all(hello).expect("room to send");
                assert_eq!(client.read(&mut [0]).expect("an end"), 0);
            }
        };
        let server = || {
            network.merge_received_packets(merging);
            let stand = Stand::on(&["10.0.0.1:0"], &hosts());
            tell.send(stand.groups[0].address).expect("the clients' thread");
            for hello in hellos {
                stand.accept().expect(hello);
            }
            counts = Some((stand.count(Verdict::Steered), stand.count(Verdict::Truncated)));
        };
        network.beside(clients, server);
    });
    counts
}

#[test]
fn a_hello_of_two_segments_is_steered_if_its_first_has_the_name() {
    let hellos = chrome();
    let named = named(&hellos);
    assert!((HELLOS as u64 / 3..HELLOS as u64 * 2 / 3).contains(&named), "about half: {named}");
    if let Some(counts) = send(&hellos, false, false) {
        assert_eq!(counts, (named, HELLOS as u64 - named));
    }
}

#[test]
fn a_hello_that_arrives_as_one_large_packet_is_always_steered() {
    let hellos = chrome();
    for merging in [true, false] {
        if let Some(counts) = send(&hellos, true, merging) {
            assert_eq!(counts, (HELLOS as u64, 0), "merging: {merging}");
        }
    }
}

/// How many segments are merged is the kernel's choice.
#[test]
fn merging_received_packets_steers_no_fewer_hellos() {
    let hellos = chrome();
    let Some((steered, truncated)) = send(&hellos, false, true) else { return };
    assert!(steered >= named(&hellos), "{steered}");
    assert_eq!(steered + truncated, HELLOS as u64);
    println!("{steered} of {HELLOS} are steered if packets are merged");
    assert_eq!(send(&[hello(&host(1))], false, true), Some((1, 0)));
}
