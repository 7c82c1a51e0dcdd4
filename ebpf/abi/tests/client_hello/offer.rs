//! What is read of a hello besides its name.

use portcullis_abi::ClientOffer;
use portcullis_abi::cases::{self, Hello};

const VERSION_AT: usize = 5 + 4;
const SUITES_AT: usize = VERSION_AT + 2 + 32 + 1 + 2;

fn read(hello: &Hello) -> ClientOffer {
    ClientOffer::read(&hello.record()).unwrap()
}

fn without(extension: u16) -> Hello {
    let mut hello = Hello::to(b"a.example");
    hello.extensions.retain(|(kind, _)| *kind != extension);
    hello
}

#[test]
fn an_ordinary_hello_offers_tls13_and_nothing_odd() {
    let offer = read(&Hello::to(b"a.example"));
    assert_eq!((offer.legacy_version, offer.tls13), (0x0303, true));
    assert!(!offer.is_fallback && !offer.is_renegotiation && !offer.has_long_record);
    assert!(!offer.has_early_data() && !offer.lacks_extension_of_tls13());
}

#[test]
fn a_hello_in_many_records_is_read_as_one() {
    let hello = Hello::to(b"a.example").last(42, Vec::new());
    let whole = read(&hello);
    assert!(whole.has_early_data());
    for payload_len in [1, 2, 3, 50] {
        let mut records = cases::records(&hello.message(), payload_len);
        records.extend(b"\x17\x03\x03\xff\xffearly data of another length");
        assert_eq!(ClientOffer::read(&records), Some(whole), "{payload_len}");
    }
}

#[test]
fn tls13_is_offered_by_supported_versions_alone() {
    assert!(!read(&without(43)).tls13);
    let of = |versions: &[u8]| read(&without(43).last(43, versions.to_vec())).tls13;
    assert!(of(&[4, 0x0a, 0x0a, 3, 4]));
    assert!(!of(&[4, 0x0a, 0x0a, 3, 3]));
}

#[test]
fn each_extension_that_tls13_needs_is_missed() {
    for needed in [10, 13, 51] {
        assert!(read(&without(needed)).lacks_extension_of_tls13(), "{needed}");
        let mut older = without(needed);
        older.extensions.retain(|(kind, _)| *kind != 43);
        assert!(!read(&older).lacks_extension_of_tls13(), "{needed}: TLS 1.2 needs none");
    }
    // A hello with a pre-shared key authenticates by it, and may do without a key share.
    let mut resuming = without(13).last(41, vec![0]);
    assert!(!read(&resuming).lacks_extension_of_tls13());
    resuming.extensions.retain(|(kind, _)| !matches!(kind, 10 | 51));
    assert!(!read(&resuming).lacks_extension_of_tls13());
    resuming.extensions.push((51, vec![0]));
    assert!(read(&resuming).lacks_extension_of_tls13());
}

#[test]
fn a_fallback_is_one_only_below_tls13() {
    for (hello, expected) in [(without(43), true), (without(0), false)] {
        let mut record = hello.record();
        record[SUITES_AT + 2..SUITES_AT + 4].copy_from_slice(&[0x56, 0x00]);
        assert_eq!(ClientOffer::read(&record).unwrap().is_fallback, expected);
    }
}

#[test]
fn renegotiation_info_is_empty_in_a_first_hello() {
    assert!(!read(&without(0).last(0xff01, vec![0])).is_renegotiation);
    assert!(read(&without(0).last(0xff01, vec![2, 7, 7])).is_renegotiation);
}

#[test]
fn the_version_is_legacy_version() {
    let mut record = without(0).record();
    record[VERSION_AT..VERSION_AT + 2].copy_from_slice(&[3, 0]);
    assert_eq!(ClientOffer::read(&record).unwrap().legacy_version, 0x0300);
}

#[test]
fn a_record_over_2_to_the_14_is_long() {
    for (padding, expected) in [(16_000, false), (16_400, true)] {
        let message = without(0).last(21, vec![0; padding]).message();
        let record = cases::record(22, &message);
        assert_eq!(ClientOffer::read(&record).unwrap().has_long_record, expected);
        let short = cases::records(&message, 16_000);
        assert!(!ClientOffer::read(&short).unwrap().has_long_record);
    }
}

#[test]
fn a_malformed_hello_offers_nothing() {
    let record = Hello::to(b"a.example").record();
    for len in 0..record.len() {
        assert_eq!(ClientOffer::read(&record[..len]), None, "{len}");
    }
    for (kind, body) in [(43, vec![]), (43, vec![3, 3, 4, 3]), (0xff01, vec![])] {
        let hello = without(43).last(kind, body);
        assert_eq!(ClientOffer::read(&hello.record()), None, "{kind}");
    }
}
