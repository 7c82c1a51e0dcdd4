//! Properties over generated names, hellos, fragmentations and mutations.

use std::sync::{Arc, Mutex};

use portcullis_abi::cases::{Hello, message, records, server_name_list};
use portcullis_abi::{
    HostName, MAX_MESSAGE_LEN, MAX_RECEIVED_LEN, Outcome, Progress, Reassembler, client_hello, sni,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ResolvesServerCert, UnbufferedServerConnection};
use rustls::sign::CertifiedKey;
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};

use crate::oracle;

/// Labels and separators that make names, near misses and addresses.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => "[a-z]{1,8}",
        4 => Just(".".to_owned()),
        2 => "[A-Z0-9_-]{1,4}",
        1 => "[0-9]{1,3}",
        1 => "[a-z0-9-]{50,70}",
        1 => "[ :*/\\x00\\[\\]é]",
        1 => "(::|[0-9a-f]{1,4}:)",
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat().into_bytes())
}

fn hello() -> impl Strategy<Value = Hello> {
    // Types that rustls reads (its check of their bodies is out of scope here), and any others.
    let kind =
        prop_oneof![select(&[0, 5, 10, 16, 21, 23, 35, 41, 43, 51, 0xfe0d][..]), any::<u16>()];
    let extension = (kind, vec(any::<u8>(), 0..40));
    (name(), vec(extension, 0..8), any::<Index>(), any::<bool>()).prop_map(
        |(name, extra, place, is_named)| {
            let mut hello = Hello::default();
            hello.extensions.extend(extra);
            if is_named {
                let place = place.index(hello.extensions.len() + 1);
                hello.extensions.insert(place, (0, server_name_list(&[(0, &name)])));
            }
            hello
        },
    )
}

/// The message in records of the given lengths, the last one repeated to the end.
fn fragmented(handshake: &[u8], lens: &[usize]) -> Vec<u8> {
    let mut rest = handshake;
    let mut bytes = Vec::new();
    for len in lens {
        let (payload, later) = rest.split_at(rest.len().min(*len));
        bytes.extend(records(payload, usize::MAX));
        rest = later;
    }
    bytes.extend(records(rest, usize::MAX));
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_name_is_taken_exactly_when_rustls_takes_it(name in name()) {
        let hello = Hello::to(&name).record();
        let mut in_kernel = HostName::EMPTY;
        let outcome = sni(&hello[..], 0, &mut in_kernel);
        match ServerName::try_from(&name[..]) {
            Ok(ServerName::DnsName(theirs)) => {
                let theirs = theirs.as_ref().to_ascii_lowercase();
                prop_assert_eq!(outcome, Outcome::Name);
                prop_assert_eq!(in_kernel.as_str(), theirs.strip_suffix('.').unwrap_or(&theirs));
            }
            _ => prop_assert_ne!(outcome, Outcome::Name),
        }
        oracle::compare(&hello);
    }

    #[test]
    fn rustls_agrees_on_any_hello_in_any_records(
        hello in hello(),
        lens in vec(1..300_usize, 0..20),
    ) {
        oracle::compare(&fragmented(&hello.message(), &lens));
    }

    #[test]
    fn records_do_not_change_the_answer(hello in hello(), lens in vec(1..300_usize, 0..20)) {
        let handshake = hello.message();
        let without_length = |bytes: &[u8]| match client_hello(bytes) {
            Progress::Complete { name, consumed } => {
                assert_eq!(consumed, bytes.len());
                Progress::Complete { name, consumed: 0 }
            }
            other => other,
        };
        prop_assert_eq!(
            without_length(&fragmented(&handshake, &lens)),
            without_length(&hello.record())
        );
    }

    #[test]
    fn rustls_agrees_on_what_is_cut_or_mutated(
        hello in hello(),
        lens in vec(1..300_usize, 0..4),
        cut in any::<Index>(),
        mutations in vec((any::<Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = fragmented(&hello.message(), &lens);
        for (place, byte) in mutations {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        oracle::compare(&bytes);
        bytes.truncate(cut.index(bytes.len() + 1));
        oracle::compare(&bytes);
    }

    #[test]
    fn rustls_agrees_on_noise(bytes in vec(any::<u8>(), 0..64), is_record in any::<bool>()) {
        oracle::compare(&if is_record { records(&bytes, 20) } else { bytes });
    }
}

#[test]
fn a_hello_of_the_largest_size_is_taken_as_rustls_takes_it() {
    let hello = largest_hello();
    let bytes = records(&hello, 1 << 14);
    let Progress::Complete { name: Some(name), consumed } = client_hello(&bytes) else {
        panic!("{:?}", client_hello(&bytes))
    };
    assert_eq!(consumed, bytes.len());
    assert_eq!(Some(name.to_string()), name_seen_by_a_server(bytes));
}

#[test]
fn a_hello_over_the_largest_size_is_refused_at_its_first_record() {
    let bytes = records(&message(1, &vec![0; MAX_MESSAGE_LEN as usize + 1]), 1 << 14);
    let first_record = &bytes[..5 + (1 << 14)];
    let refused = Progress::Invalid(portcullis_abi::Invalid::TooLarge);
    assert_eq!(client_hello(first_record), refused);
}

#[test]
fn no_more_is_ever_wanted_than_the_limit() {
    // A record header for each byte is the largest overhead of a hello.
    let bytes = records(&largest_hello(), 1);
    let mut reassembler = Reassembler::default();
    let mut len = 0;
    let end = loop {
        match reassembler.advance(&bytes[..len]) {
            Progress::NeedMore { at_least } => len = at_least,
            end => break end,
        }
        assert!(len <= MAX_RECEIVED_LEN);
    };
    assert_eq!(end, Progress::Invalid(portcullis_abi::Invalid::TooLarge));
}

fn largest_hello() -> Vec<u8> {
    let padded = |len| Hello::to(b"app.example.com").last(21, vec![0; len]).message();
    let hello = padded(4 + MAX_MESSAGE_LEN as usize - padded(0).len());
    assert_eq!(hello.len(), 4 + MAX_MESSAGE_LEN as usize);
    hello
}

/// The name that rustls passes to a certificate resolver. Unlike `Acceptor`, the unbuffered
/// connection has no input limit.
fn name_seen_by_a_server(mut bytes: Vec<u8>) -> Option<String> {
    let seen = Arc::new(Seen::default());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(seen.clone());
    let mut server = UnbufferedServerConnection::new(Arc::new(config)).unwrap();
    while let UnbufferedStatus { state: Ok(state), .. } = server.process_tls_records(&mut bytes) {
        match state {
            ConnectionState::BlockedHandshake => break,
            ConnectionState::EncodeTlsData(mut data) => {
                let _: Result<usize, EncodeError> = data.encode(&mut [0; 1024]);
            }
            other => drop(other),
        }
    }
    seen.0.lock().unwrap().clone()
}

/// A resolver that has no certificate and remembers the requested name.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<String>>);

impl ResolvesServerCert for Seen {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hello.server_name().map(str::to_owned);
        None
    }
}
