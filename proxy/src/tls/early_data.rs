//! Skips early data that a client sends with the ticket of another server.
//!
//! No ticket of ours allows early data, but the server that was here before may have allowed it. A
//! server that rejects early data skips it (RFC 8446 section 4.2.10): it tries to decrypt each record
//! with the keys of the handshake, and drops those that do not decrypt. rustls does that too, and its
//! unbuffered API tries the records that it dropped again with each call, until its allowance is used
//! up. So the records are tried here first, and rustls sees none of the early data.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::{
    ContentType, Error, ProtocolVersion,
    crypto::cipher::{InboundOpaqueMessage, InboundPlainMessage, MessageDecrypter},
};

use crate::rt::Buffer;

/// The most early data that is skipped, with its record headers. OpenSSL's clients send up to
/// 16 KiB of content; the rest is for the records around it, however small.
const LIMIT_BYTES: usize = 32 * 1024;

const HEADER_BYTES: usize = 5;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The early data of one connection, while there may be more of it.
#[derive(Debug)]
pub(super) struct RejectedEarlyData {
    /// Opens the client's records of the handshake. There is none before the ServerHello.
    decrypter: Option<SharedDecrypter>,
    is_hello_processed: bool,
    left_bytes: usize,
}

/// What is to be done with the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EarlyInput {
    /// There is no early data any more: rustls may see everything.
    Over,
    /// rustls may see so many bytes; what is behind them has to be looked at first.
    Visible(usize),
}

impl RejectedEarlyData {
    pub(super) fn new() -> RejectedEarlyData {
        RejectedEarlyData { decrypter: None, is_hello_processed: false, left_bytes: LIMIT_BYTES }
    }

    /// Takes a share of the decrypter of the client's next records.
    pub(super) fn share(&mut self, decrypter: Box<dyn MessageDecrypter>) -> SharedDecrypter {
        let shared = SharedDecrypter(Arc::new(Mutex::new(decrypter)));
        self.decrypter = Some(shared.clone());
        shared
    }

    /// Removes early data from the front of the input.
    pub(super) fn skip(&mut self, input: &mut Buffer) -> EarlyInput {
        loop {
            let received = input.filled();
            let Some([kind, _, _, high, low]) = received.first_chunk() else {
                return EarlyInput::Visible(received.len());
            };
            let length = HEADER_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
            match *kind {
                // rustls answers it, and looks at nothing behind it before the answer is taken.
                HANDSHAKE if !self.is_hello_processed => {
                    self.is_hello_processed = true;
                    return EarlyInput::Visible(received.len());
                }
                HANDSHAKE => return EarlyInput::Over,
                APPLICATION_DATA => {}
                _ => return EarlyInput::Visible(length.min(received.len())),
            }
            let Some(record) = received.get(HEADER_BYTES..length) else {
                return EarlyInput::Visible(0);
            };
            if self.is_of_handshake(record) || length > self.left_bytes {
                return EarlyInput::Over;
            }
            self.left_bytes -= length;
            input.consume(length);
        }
    }

    /// Whether a record is the first one of the handshake. After a HelloRetryRequest the client's next
    /// message is in the clear, and every protected record before it is early data.
    fn is_of_handshake(&self, record: &[u8]) -> bool {
        let Some(decrypter) = &self.decrypter else { return false };
        // Decryption happens in place, and rustls has to decrypt it once more.
        let mut copy = record.to_vec();
        let (kind, version) = (ContentType::ApplicationData, ProtocolVersion::TLSv1_2);
        let message = InboundOpaqueMessage::new(kind, version, &mut copy);
        let is_early = matches!(decrypter.clone().decrypt(message, 0), Err(Error::DecryptError));
        !is_early
    }
}

/// A decrypter that rustls and [`RejectedEarlyData`] have in common, since a key cannot be copied. One
/// thread uses it; the lock is for rustls's bounds.
#[derive(Clone)]
pub(super) struct SharedDecrypter(Arc<Mutex<Box<dyn MessageDecrypter>>>);

impl MessageDecrypter for SharedDecrypter {
    fn decrypt<'a>(
        &mut self,
        message: InboundOpaqueMessage<'a>,
        sequence: u64,
    ) -> Result<InboundPlainMessage<'a>, Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).decrypt(message, sequence)
    }
}

impl std::fmt::Debug for SharedDecrypter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SharedDecrypter")
    }
}
