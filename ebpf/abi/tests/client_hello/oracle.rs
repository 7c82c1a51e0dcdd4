//! rustls's own `Acceptor` as the oracle for the parser; the fuzz target uses it too.

use portcullis_abi::{HostName, Invalid, Outcome, Progress, Reassembler, client_hello, sni};
use rustls::server::Acceptor;
use rustls::{Error, InvalidMessage, PeerIncompatible, PeerMisbehaved};

/// The result of rustls for the same bytes.
#[derive(Debug)]
enum Verdict {
    NeedMore,
    Accepted(Option<String>),
    Refused {
        error: Error,
        alert: Option<u8>,
    },
    /// The `Acceptor` keeps at most 64 KiB, record headers included; the result is unknown.
    BufferFull,
}

/// Panics if the parser and rustls disagree without a known reason.
pub(crate) fn compare(bytes: &[u8]) {
    let ours = client_hello(bytes);
    let theirs = acceptor(bytes);
    assert!(agree(&ours, &theirs, bytes), "{ours:?} but rustls: {theirs:?}\n{bytes:02x?}");
    piecemeal_is_the_same(bytes, &ours);
    hint_is_right(bytes, &ours);
}

/// The alert that rustls sends for these bytes.
pub(crate) fn alert(bytes: &[u8]) -> Option<u8> {
    match acceptor(bytes) {
        Verdict::Refused { alert, .. } => alert,
        _ => None,
    }
}

fn agree(ours: &Progress, theirs: &Verdict, bytes: &[u8]) -> bool {
    match (ours, theirs) {
        (_, Verdict::BufferFull) => true,
        (Progress::Complete { name, .. }, Verdict::Accepted(theirs)) => {
            let theirs = theirs.as_deref().map(|name| name.strip_suffix('.').unwrap_or(name));
            name.as_ref().map(HostName::as_str) == theirs
        }
        (Progress::Complete { .. }, Verdict::Refused { error, .. }) => is_for_rustls_to_say(error),
        (Progress::NeedMore { .. }, Verdict::NeedMore) => true,
        // The parser waits for the whole method of an HTTP request.
        (Progress::NeedMore { .. }, Verdict::Refused { .. }) => {
            bytes.iter().all(u8::is_ascii_uppercase)
        }
        (Progress::NotTls { .. } | Progress::Invalid(_), Verdict::Refused { .. }) => true,
        // The parser rejects a wrong record or message at once, rustls when it is complete.
        (Progress::NotTls { .. } | Progress::Invalid(_), Verdict::NeedMore) => {
            nothing_can_mend(bytes)
        }
        (Progress::NeedMore { .. }, Verdict::Accepted(_))
        | (Progress::NotTls { .. } | Progress::Invalid(_), Verdict::Accepted(_))
        | (Progress::Complete { .. }, Verdict::NeedMore) => false,
    }
}

/// Faults outside the parts that the name depends on: the parser leaves them to rustls, which reads
/// the same bytes next.
fn is_for_rustls_to_say(error: &Error) -> bool {
    match error {
        Error::InvalidMessage(
            InvalidMessage::InvalidServerName
            | InvalidMessage::HandshakePayloadTooLarge
            | InvalidMessage::InvalidEmptyPayload
            | InvalidMessage::MessageTooLarge
            | InvalidMessage::UnknownProtocolVersion,
        )
        | Error::InvalidMessage(InvalidMessage::DuplicateExtension(0)) => false,
        // InvalidContentType among them: rustls uses it also for an unknown type of ECH.
        Error::InvalidMessage(_) => true,
        Error::PeerIncompatible(
            PeerIncompatible::NullCompressionRequired
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired,
        ) => true,
        Error::PeerMisbehaved(PeerMisbehaved::ServerNameMustContainOneHostName) => false,
        _ => false,
    }
}

/// Whether rustls, which still waits, would reject any continuation.
fn nothing_can_mend(bytes: &[u8]) -> bool {
    [0, 1, 22, 0xff].into_iter().all(|filler| {
        let longer = [bytes, &[filler; 40_000]].concat();
        matches!(acceptor(&longer), Verdict::Refused { .. } | Verdict::BufferFull)
    })
}

/// The split of the bytes into segments must not matter.
fn piecemeal_is_the_same(bytes: &[u8], whole: &Progress) {
    let mut reassembler = Reassembler::default();
    let mut len = 0;
    let mut progress = reassembler.advance(&[]);
    while let Progress::NeedMore { at_least } = progress {
        assert!(at_least > len, "{at_least} bytes wanted with {len} there");
        if len == bytes.len() {
            break;
        }
        // Unequal steps, some of them too short for a result.
        len = bytes.len().min(len + 1 + len % 7 * 13);
        progress = reassembler.advance(&bytes[..len]);
    }
    assert_eq!(progress, *whole, "in pieces, with {len} of {} bytes\n{bytes:02x?}", bytes.len());
}

/// The kernel may know less than user space, but never differ from it.
fn hint_is_right(bytes: &[u8], ours: &Progress) {
    let mut hint = HostName::EMPTY;
    let outcome = sni(bytes, 0, &mut hint);
    assert_eq!(outcome == Outcome::Name, !hint.as_bytes().is_empty());
    let right = match ours {
        Progress::Complete { name: Some(name), .. } => match outcome {
            Outcome::Name => hint == *name,
            Outcome::Unsupported => true,
            Outcome::NoName | Outcome::Truncated | Outcome::NotTls => false,
        },
        Progress::Complete { name: None, .. } => {
            matches!(outcome, Outcome::NoName | Outcome::Unsupported)
        }
        Progress::NotTls { .. } => outcome == Outcome::NotTls || bytes.len() < 9,
        Progress::Invalid(Invalid::ServerName) => {
            matches!(outcome, Outcome::NoName | Outcome::Unsupported)
        }
        Progress::NeedMore { .. } | Progress::Invalid(_) => true,
    };
    assert!(right, "{outcome:?} {hint} but {ours:?}\n{bytes:02x?}");
}

fn acceptor(mut bytes: &[u8]) -> Verdict {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        if acceptor.read_tls(&mut bytes).is_err() {
            return Verdict::BufferFull;
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                return Verdict::Accepted(accepted.client_hello().server_name().map(str::to_owned));
            }
            Err((error, mut alert)) => {
                let mut wire = Vec::new();
                alert.write_all(&mut wire).unwrap();
                return Verdict::Refused { error, alert: wire.get(6).copied() };
            }
        }
    }
    Verdict::NeedMore
}
