//! What a client offers in its ClientHello besides the server name. User space only.

use super::{
    CLIENT_HELLO, Cursor, Extension, FIXED_LEN, MAX_SESSION_ID_LEN, MESSAGE_HEADER_LEN, Stop,
    next_extension,
};
use crate::Load;
use crate::fragments::Fragments;
use crate::record;

const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const PRE_SHARED_KEY: u16 = 41;
const EARLY_DATA: u16 = 42;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;
const RENEGOTIATION_INFO: u16 = 0xff01;

/// The most that a record in the clear may have. rustls accepts 2,048 bytes more.
const MAX_PLAINTEXT_LEN: u16 = 1 << 14;

const TLS13: u16 = 0x0304;
/// The cipher suite that a client adds when it tries again with a lower version (RFC 7507).
const FALLBACK_SCSV: u16 = 0x5600;

/// The facts of a ClientHello that decide whether, and with which alert, it is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientOffer {
    /// ClientHello.legacy_version.
    pub legacy_version: u16,
    /// A record of the hello has more than 2^14 bytes.
    pub has_long_record: bool,
    /// The client offers TLS 1.3.
    pub tls13: bool,
    /// The client offers a lower version than it could (TLS_FALLBACK_SCSV).
    pub is_fallback: bool,
    /// The hello claims to renegotiate a connection (renegotiation_info is not empty).
    pub is_renegotiation: bool,
    /// The extensions of a number below 64, a bit each.
    extensions: u64,
}

impl ClientOffer {
    /// Reads the ClientHello at the beginning of `received`, which has to be there as a whole.
    /// `None` if it is malformed.
    pub fn read(received: &[u8]) -> Option<ClientOffer> {
        let message = Fragments::new(received);
        let [CLIENT_HELLO, high, mid, low] = message.load(0)? else {
            return None;
        };
        let size = u32::from_be_bytes([0, high, mid, low]);
        let mut offer = read(Cursor::new(&message, MESSAGE_HEADER_LEN, size)).ok()?;
        offer.has_long_record = has_long_record(received, MESSAGE_HEADER_LEN + size);
        Some(offer)
    }

    /// Whether the client has early data behind its hello.
    pub fn has_early_data(&self) -> bool {
        self.has(EARLY_DATA)
    }

    /// Whether an extension is missing that a hello for TLS 1.3 has to have (RFC 8446 section 9.2).
    pub fn lacks_extension_of_tls13(&self) -> bool {
        let (groups, share) = (self.has(SUPPORTED_GROUPS), self.has(KEY_SHARE));
        let authenticates = self.has(PRE_SHARED_KEY) || self.has(SIGNATURE_ALGORITHMS) && groups;
        self.tls13 && (groups != share || !authenticates)
    }

    fn has(&self, extension: u16) -> bool {
        self.extensions & bit(extension) != 0
    }
}

fn bit(extension: u16) -> u64 {
    1_u64.checked_shl(extension.into()).unwrap_or(0)
}

fn read<L: Load + ?Sized>(mut hello: Cursor<'_, L>) -> Result<ClientOffer, Stop> {
    let mut offer = ClientOffer { legacy_version: hello.u16()?, ..ClientOffer::default() };
    hello.skip(FIXED_LEN - 2)?;
    let session_id_len = u32::from(hello.u8()?);
    if session_id_len > MAX_SESSION_ID_LEN {
        return Err(Stop::Malformed);
    }
    hello.skip(session_id_len)?;
    let cipher_suites_len = u32::from(hello.u16()?);
    let mut cipher_suites = hello.take(cipher_suites_len)?;
    let compression_methods_len = u32::from(hello.u8()?);
    hello.skip(compression_methods_len)?;
    if !hello.is_empty() {
        hello.u16()?;
    }
    while !hello.is_empty() {
        offer.add(next_extension(&mut hello)?)?;
    }
    // It has a meaning only in a hello for a lower version than ours.
    while !offer.tls13 && !cipher_suites.is_empty() {
        offer.is_fallback |= cipher_suites.u16()? == FALLBACK_SCSV;
    }
    Ok(offer)
}

impl ClientOffer {
    fn add<L: Load + ?Sized>(&mut self, extension: Extension<'_, L>) -> Result<(), Stop> {
        let Extension { kind, mut body } = extension;
        self.extensions |= bit(kind);
        match kind {
            SUPPORTED_VERSIONS => {
                body.u8()?;
                while !body.is_empty() {
                    self.tls13 |= body.u16()? == TLS13;
                }
            }
            RENEGOTIATION_INFO => self.is_renegotiation = body.u8()? != 0,
            _ => {}
        }
        Ok(())
    }
}

/// Whether one of the records with the first `len` bytes of handshake messages is too long.
fn has_long_record(received: &[u8], len: u32) -> bool {
    let (mut rest, mut joined) = (received, 0);
    while joined < len {
        let Some([_, _, _, high, low]) = rest.first_chunk() else { return false };
        let payload = u16::from_be_bytes([*high, *low]);
        if payload > MAX_PLAINTEXT_LEN {
            return true;
        }
        joined += u32::from(payload);
        let record_len = record::HEADER_LEN as usize + usize::from(payload);
        rest = rest.get(record_len..).unwrap_or(&[]);
    }
    false
}
