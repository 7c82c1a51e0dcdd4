//! The options of SYNs: those of real systems, all that bytes can be, and what a cookie keeps.

mod oracle;

use portcullis_abi::{CookieLoss, MAX_OPTIONS, SynOptions};
use proptest::prelude::*;

/// The length of a TCP header without options.
const HEADER: u32 = 20;

fn read(options: &[u8]) -> SynOptions {
    let mut segment = vec![0xff; HEADER as usize];
    segment.extend(options);
    let end = segment.len() as u32;
    SynOptions::read(segment.as_slice(), HEADER, end)
}

fn with(mss: u32, timestamps: bool) -> SynOptions {
    SynOptions { mss, timestamps }
}

#[test]
fn the_options_of_real_systems_are_read() {
    let linux = b"\x02\x04\x05\xb4\x04\x02\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00\x01\x03\x03\x07";
    let macos = b"\x02\x04\x05\xb4\x01\x03\x03\x06\x01\x01\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00\x04\x02\x00\x00";
    let windows = b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02";
    assert_eq!(read(linux), with(1460, true));
    assert_eq!(read(macos), with(1460, true));
    assert_eq!(read(windows), with(1460, false));
    assert_eq!(read(b""), with(0, false));
}

#[test]
fn a_broken_option_ends_the_list() {
    let after = |broken: &[u8]| read(&[b"\x02\x04\x05\x14", broken, &TIMESTAMPS].concat());
    for broken in [b"\x03\x00".as_slice(), b"\x03\x01", b"\x03\xff\x07", b"\x00"] {
        assert_eq!(after(broken), with(1300, false), "{broken:?}");
    }
    assert_eq!(after(b"\x03\x03\x07"), with(1300, true));
    assert_eq!(read(b"\x01\x08"), with(0, false), "the length is missing");
    assert_eq!(read(&TIMESTAMPS[..9]), with(0, false), "it ends behind the header");
}

#[test]
fn options_of_another_length_and_a_size_of_zero_are_ignored() {
    assert_eq!(read(b"\x02\x03\x05\x08\x02\x01"), with(0, false));
    assert_eq!(read(b"\x02\x04\x05\xb4\x02\x04\x00\x00"), with(1460, false));
    assert_eq!(read(b"\x02\x04\x05\xb4\x02\x04\x05\x14"), with(1300, false), "the last counts");
}

#[test]
fn more_options_than_are_read_count_as_none() {
    let padded =
        |padding: u32| read(&[vec![1; padding as usize].as_slice(), &TIMESTAMPS, b"\x00"].concat());
    assert!(padded(MAX_OPTIONS - 2).timestamps);
    assert_eq!(padded(MAX_OPTIONS - 1), with(0, false));
}

const TIMESTAMPS: [u8; 10] = *b"\x08\x0a\x01\x02\x03\x04\x00\x00\x00\x00";

#[test]
fn a_cookie_costs_at_most_a_twentieth_of_the_segment_size() {
    let free = |is_ipv6| {
        let sizes = (1..=u32::from(u16::MAX))
            .filter(|mss| with(*mss, true).cookie_loss(is_ipv6) == CookieLoss::Nothing);
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for mss in sizes {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == mss => *last = mss,
                _ => ranges.push((mss, mss)),
            }
        }
        ranges
    };
    assert_eq!(free(false), [(536, 564), (1300, 1368), (1440, 1536)]);
    assert_eq!(free(true), [(1220, 1284), (1420, 1515), (8940, 9410)]);
}

#[test]
fn a_syn_without_a_segment_size_has_the_default_of_its_family() {
    for is_ipv6 in [false, true] {
        assert_eq!(with(0, true).cookie_loss(is_ipv6), CookieLoss::Nothing);
    }
}

#[test]
fn without_timestamps_a_cookie_costs_the_options() {
    for mss in [0, 536, 1460, 65_495] {
        assert_eq!(with(mss, false).cookie_loss(false), CookieLoss::Options);
    }
}

/// Bytes that look like options, and any others.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let option = prop_oneof![
        2 => Just(vec![1]),
        2 => any::<[u8; 2]>().prop_map(|size| [[2, 4].as_slice(), &size].concat()),
        2 => any::<[u8; 8]>().prop_map(|values| [[8, 10].as_slice(), &values].concat()),
        1 => Just(vec![4, 2]),
        1 => Just(vec![0]),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(option, 0..24).prop_map(|options| options.concat())
}

proptest! {
    #[test]
    fn options_are_read_as_a_second_reader_reads_them(bytes in bytes(), cut in 0..60_usize) {
        oracle::compare(bytes.get(..cut).unwrap_or(&bytes));
    }
}

#[test]
fn the_corpus_is_read_as_a_second_reader_reads_it() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/syn");
    let inputs = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
    let read = inputs.map(|path| oracle::compare(&std::fs::read(path).unwrap())).count();
    assert!(read >= 6, "{read}");
}
