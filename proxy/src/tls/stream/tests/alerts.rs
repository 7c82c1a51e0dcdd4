//! Every refusal in the clear sends one fatal alert, and nothing after it.

use super::{
    hello::{RawHello, message, record, server_name},
    *,
};
use crate::tls::{
    ClientAuthMode, ClientAuthSpec, ClientTrust, ClientTrustSpec, Codec, ServerTls, ServerTlsSpec,
    TicketKeys,
    testing::{TestClock, leaf, root, self_signed},
};

const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const INAPPROPRIATE_FALLBACK: u8 = 86;
const MISSING_EXTENSION: u8 = 109;

/// Sends `first`, and `then` once a record came that ends with `answered`. Returns all records.
fn answers(first: &[u8], answered: &[u8], then: &[u8]) -> Vec<(u8, Vec<u8>)> {
    answers_of(Pki::new().server(), first, answered, then)
}

fn answers_of(
    server: Arc<ServerConfig>,
    first: &[u8],
    answered: &[u8],
    then: &[u8],
) -> Vec<(u8, Vec<u8>)> {
    let (mut peer, ours) = pair();
    let [first, answered, mut then] = [first, answered, then].map(<[u8]>::to_vec);
    let client = thread::spawn(move || {
        let mut records = Vec::new();
        peer.write_all(&first).unwrap();
        while let Some((kind, payload)) = next_record(&mut peer) {
            if payload.ends_with(&answered) {
                peer.write_all(&std::mem::take(&mut then)).unwrap();
            }
            records.push((kind, payload));
        }
        records
    });
    block_on(async {
        let mut failed = accept_after_hello(ours, server).await.unwrap_err();
        poll_fn(|cx| failed.stream.poll_flush(cx)).await.unwrap();
        poll_fn(|cx| failed.stream.poll_sent(cx)).await.unwrap();
        failed.stream.shutdown_write();
        client.join().unwrap()
    })
}

/// The one fatal alert that ends the records.
fn only_alert(records: &[(u8, Vec<u8>)], case: &str) -> u8 {
    let alerts: Vec<_> = records.iter().filter(|(kind, _)| *kind == 21).collect();
    assert_eq!(alerts.len(), 1, "{case}: {records:?}");
    match records.last() {
        Some((21, alert)) if alert[0] == 2 && alert.len() == 2 => alert[1],
        last => panic!("{case}: {last:?}"),
    }
}

fn check(cases: &[(&str, Vec<u8>, u8)]) {
    for (case, bytes, expected) in cases {
        let alert = only_alert(&answers(bytes, &[], &[]), case);
        assert_eq!(alert, *expected, "{case}");
    }
}

#[test]
fn a_hello_that_cannot_be_decoded_gets_one_decode_error() {
    let wrong_length = |hello: RawHello| hello.with(13, vec![0, 7, 4, 3, 8, 4, 4, 1]).record();
    let trailing = |count| RawHello { trailing: vec![0; count], ..RawHello::tls13() }.record();
    let cases = [
        ("TLS 1.3, a wrong length", wrong_length(RawHello::tls13())),
        ("TLS 1.2, a wrong length", wrong_length(RawHello::tls12())),
        ("a byte behind the extensions", trailing(1)),
        ("a thousand bytes behind the extensions", trailing(1000)),
        ("an empty record", record(22, &[])),
        ("another content type", b"\x63\x03\x03\x00\x01\x00".to_vec()),
        ("another record version", b"\x16\x04\x03\x00\x01\x00".to_vec()),
        ("a record that is too long", b"\x16\x03\x03\xff\xff".to_vec()),
        ("a hello of 16 MiB", record(22, &[1, 255, 255, 255])),
        ("an alert that is too short", record(21, &[2])),
        ("no message", record(22, &message(1, &[]))),
    ];
    check(&cases.map(|(case, bytes)| (case, bytes, DECODE_ERROR)));
}

#[test]
fn more_records_than_a_hello_may_have_get_one_decode_error() {
    let hello = [&[1, 0, 255, 255][..], &[0; 25_000]].concat();
    let records: Vec<u8> = hello.chunks(1).flat_map(|byte| record(22, byte)).collect();
    check(&[("records of one byte", records, DECODE_ERROR)]);
}

#[test]
fn a_hello_that_breaks_a_rule_gets_one_alert_of_ours() {
    let of_version = |version| RawHello { version, ..RawHello::tls13() }.record();
    let fallback = RawHello { suites: vec![0xc0, 0x2b, 0x56, 0x00], ..RawHello::tls12() };
    let long = RawHello::tls13().with(21, vec![0; 16_400]);
    let without = |extension| RawHello::tls13().without(extension).record();
    let mut repeated = RawHello::tls13();
    repeated.extensions.push((13, vec![0, 2, 4, 3]));
    check(&[
        ("SSL 3.0", of_version([3, 0]), PROTOCOL_VERSION),
        ("SSL 2.0", of_version([2, 0]), PROTOCOL_VERSION),
        (
            "no version of ours",
            RawHello::tls13().with(43, vec![2, 3, 2]).record(),
            PROTOCOL_VERSION,
        ),
        ("no key_share", without(51), MISSING_EXTENSION),
        ("no supported_groups", without(10), MISSING_EXTENSION),
        ("no signature_algorithms", without(13), MISSING_EXTENSION),
        ("a fallback", fallback.record(), INAPPROPRIATE_FALLBACK),
        (
            "a renegotiation",
            RawHello::tls12().with(0xff01, vec![3, 1, 2, 3]).record(),
            HANDSHAKE_FAILURE,
        ),
        ("a long record", long.record(), RECORD_OVERFLOW),
        (
            "no name in server_name",
            RawHello::tls13().with(0, vec![0, 1, 9]).record(),
            ILLEGAL_PARAMETER,
        ),
        ("an extension twice", repeated.record(), ILLEGAL_PARAMETER),
        ("no common suite", RawHello { suites: vec![0, 5], ..RawHello::tls12() }.record(), 40),
        ("early data alone", record(23, b"early"), UNEXPECTED_MESSAGE),
        ("a ServerHello", record(22, &message(2, &[0; 38])), UNEXPECTED_MESSAGE),
    ]);
}

#[test]
fn data_within_a_hello_gets_one_unexpected_message() {
    let hello = RawHello::tls13().message();
    let (front, back) = hello.split_at(100);
    let within = |kind, payload: &[u8]| {
        [record(22, front), record(kind, payload), record(22, back)].concat()
    };
    check(&[
        ("application data", within(23, b"data"), UNEXPECTED_MESSAGE),
        ("an alert", within(21, &[1, 90]), UNEXPECTED_MESSAGE),
    ]);
}

/// The end of the server's first flight in TLS 1.2.
const SERVER_HELLO_DONE: [u8; 4] = [14, 0, 0, 0];

#[test]
fn a_hello_within_a_key_exchange_gets_unexpected_message() {
    let hello = RawHello::tls12().record();
    let exchange = message(16, &[&[32][..], &[9; 32]].concat());
    let then = [record(22, &exchange[..20]), record(21, &[1, 0]), hello.clone()].concat();
    let records = answers(&hello, &SERVER_HELLO_DONE, &then);
    assert_eq!(only_alert(&records, "an alert"), UNEXPECTED_MESSAGE);
}

#[test]
fn a_share_of_a_wrong_length_gets_illegal_parameter() {
    for share in [&[0][..], &[3, 1, 2, 3]] {
        let exchange = record(22, &message(16, share));
        let records = answers(&RawHello::tls12().record(), &SERVER_HELLO_DONE, &exchange);
        assert_eq!(only_alert(&records, "a share"), ILLEGAL_PARAMETER, "{share:?}");
    }
}

#[test]
fn a_second_hello_for_another_name_gets_illegal_parameter() {
    // No share of a group that both have: the server asks for one.
    let hello = RawHello::tls13().with(51, vec![0, 0]);
    let second = RawHello::tls13().with(0, server_name("another.test")).record();
    let records = answers(&hello.record(), &[], &second);
    assert_eq!(only_alert(&records, "another name"), ILLEGAL_PARAMETER);
}

/// A server with an ECDSA certificate, as the proxy makes it.
fn own_server(client_auth: ClientAuthSpec) -> Arc<ServerConfig> {
    let certificate = self_signed(leaf(&[NAME])).identity();
    let spec = ServerTlsSpec { certificates: vec![certificate], client_auth, codec: Codec::Auto };
    let tickets = Arc::new(TicketKeys::with_clock(TestClock::new()).unwrap());
    ServerTls::new(&spec, &tickets).unwrap().config(Some(NAME))
}

#[test]
fn in_tls12_a_missing_certificate_gets_handshake_failure() {
    let trust = ClientTrust::new(&ClientTrustSpec::new(root().anchors(), 1));
    let mode = ClientAuthMode::Require(Arc::new(trust));
    let server = own_server(ClientAuthSpec { mode, ..ClientAuthSpec::default() });
    let none = record(22, &message(11, &[0, 0, 0]));
    let records = answers_of(server, &RawHello::tls12().record(), &SERVER_HELLO_DONE, &none);
    assert_eq!(only_alert(&records, "no certificate"), HANDSHAKE_FAILURE);
}

#[test]
fn in_tls12_a_missing_curve_gets_handshake_failure() {
    let server = own_server(ClientAuthSpec::default());
    let hello = RawHello::tls12().with(10, vec![0, 2, 0, 29]).record();
    let records = answers_of(server, &hello, &[], &[]);
    assert_eq!(only_alert(&records, "X25519 alone"), HANDSHAKE_FAILURE);
    assert_eq!(records.len(), 1, "no certificate is sent");
}

#[test]
fn the_alert_that_was_sent_is_known_to_the_log() {
    let no_suite = RawHello { suites: vec![0, 5], ..RawHello::tls12() };
    let hellos = [
        (RawHello::tls13().without(51).record(), Some(AlertDescription::MissingExtension)),
        (no_suite.record(), Some(AlertDescription::HandshakeFailure)),
        (record(21, &[2, 40]), None),
    ];
    for (hello, expected) in hellos {
        let pki = Pki::new();
        let (mut peer, ours) = pair();
        peer.write_all(&hello).unwrap();
        let failed = block_on(async { accept_after_hello(ours, pki.server()).await.unwrap_err() });
        assert_eq!(failed.alert, expected, "{:?}", failed.error);
    }
}
