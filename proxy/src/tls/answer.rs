//! Exactly one fatal alert for each error.

use rustls::{AlertDescription, Error, HandshakeKind, ProtocolVersion};

use super::{
    alert,
    engine::{Engine, RecordIo},
};
use crate::rt::Buffer;

impl Engine {
    /// Puts the alert for an error of the session into the output. Returns it, or `None` if the peer
    /// gets no alert: it has sent one itself, or rustls sends none and alerts are encrypted already.
    pub(super) fn answer(
        &mut self,
        error: &Error,
        input: &mut Buffer,
        io: &mut RecordIo<'_, '_, '_>,
    ) -> Option<AlertDescription> {
        let is_clear = self.speaks_in_clear();
        if is_clear && let Some(alert) = self.alert_in_place(error) {
            io.output.extend_from_slice(&alert::record(alert));
            return Some(alert);
        }
        let before = io.output.len();
        self.drive_out_alert(input, io);
        let sent = io.output.filled().get(before..).unwrap_or_default();
        if is_clear {
            if let Some(alert) = alert::last_of(sent) {
                return Some(alert);
            }
            let alert = alert::forgotten(error)?;
            io.output.extend_from_slice(&alert::record(alert));
            return Some(alert);
        }
        let due = alert::of(error);
        if sent.is_empty() && due == Some(AlertDescription::UnexpectedMessage) {
            self.provoke_unexpected_message(input, io);
        }
        due.filter(|_| io.output.len() > before)
    }

    /// Whether the next record that is sent is not encrypted.
    pub(super) fn speaks_in_clear(&self) -> bool {
        match (self, self.protocol_version()) {
            (_, None) => true,
            (Engine::Client(_), Some(_)) => false,
            (Engine::Server(_, context), Some(ProtocolVersion::TLSv1_3)) => {
                !context.is_encrypting()
            }
            // A server begins to encrypt with its last message, or with its first after a ticket.
            (Engine::Server(connection, _), Some(_)) => {
                connection.is_handshaking()
                    && connection.handshake_kind() != Some(HandshakeKind::Resumed)
            }
        }
    }

    fn alert_in_place(&self, error: &Error) -> Option<AlertDescription> {
        match self {
            Engine::Server(_, context) if context.no_certificate_fits() => {
                Some(AlertDescription::HandshakeFailure)
            }
            _ => alert::in_place(error, self.protocol_version()),
        }
    }

    /// Makes rustls send unexpected_message under its keys. rustls has no call for that, but a
    /// change_cipher_spec that TLS 1.3 forbids has this answer (RFC 8446 section 5).
    ///
    /// rustls may go on behind records that it has kept, so the input keeps its length. There it finds
    /// no record then, and sends decode_error.
    fn provoke_unexpected_message(&mut self, input: &mut Buffer, io: &mut RecordIo<'_, '_, '_>) {
        if self.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
            return;
        }
        // During the handshake the right content is ignored, and later it is not.
        let content = if self.is_handshaking() { 2 } else { 1 };
        let record = [20, 3, 3, 0, 1, content];
        input.extend_from_slice(&record);
        let bytes = input.filled_mut();
        bytes.fill(0);
        if let Some(front) = bytes.first_chunk_mut() {
            *front = record;
        }
        let _ = self.step(input, io);
        self.drive_out_alert(input, io);
    }
}
