//! What a resumed session must still prove: when it was authenticated, and how long the client's
//! certificates hold. It travels in our tickets in front of rustls's own plaintext.

use super::validity::Validity;

/// How long a session may be resumed after its last full handshake, in seconds. Each resumption
/// mints new tickets, so without a cap a certificate verified once would count for ever.
const MAX_LINEAGE_S: i64 = 24 * 60 * 60;

/// How far the clocks of machines that share ticket keys may differ, in seconds.
const CLOCK_SKEW_S: i64 = 5 * 60;

const FORMAT_VERSION: u8 = 1;
const WITHOUT_CLIENT: u8 = 0;
const WITH_CLIENT: u8 = 1;

/// The most bytes that [`TlsSession::encode`] writes.
pub(super) const MAX_ENCODED_LEN: usize = 2 + 3 * 8;

/// How a TLS session came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlsSession {
    /// The time of the full handshake it descends from, in seconds since the epoch.
    pub authenticated_at_s: i64,
    /// The time during which the client's whole chain holds, its anchor included; `None` without a
    /// client certificate.
    pub client_validity: Option<Validity>,
}

impl TlsSession {
    /// For how many seconds from now it may still be resumed; zero or less is not at all.
    pub(super) fn remaining_s(&self, now_s: i64) -> i64 {
        if self.authenticated_at_s > now_s.saturating_add(CLOCK_SKEW_S) {
            return 0;
        }
        let lineage_end = self.authenticated_at_s.saturating_add(MAX_LINEAGE_S);
        let end = match self.client_validity {
            Some(validity) if now_s < validity.not_before_s => return 0,
            Some(validity) => lineage_end.min(validity.not_after_s),
            None => lineage_end,
        };
        end.saturating_sub(now_s)
    }

    /// Writes it in front of a ticket's plaintext.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.push(FORMAT_VERSION);
        out.push(if self.client_validity.is_some() { WITH_CLIENT } else { WITHOUT_CLIENT });
        out.extend(self.authenticated_at_s.to_be_bytes());
        if let Some(validity) = self.client_validity {
            out.extend(validity.not_before_s.to_be_bytes());
            out.extend(validity.not_after_s.to_be_bytes());
        }
    }

    /// Reads it back and gives what follows it; `None` for another format.
    pub(super) fn decode(bytes: &[u8]) -> Option<(TlsSession, &[u8])> {
        let (&[version, kind], rest) = bytes.split_first_chunk::<2>()?;
        if version != FORMAT_VERSION {
            return None;
        }
        let (authenticated_at_s, rest) = read_i64(rest)?;
        let (client_validity, rest) = match kind {
            WITHOUT_CLIENT => (None, rest),
            WITH_CLIENT => {
                let (not_before_s, rest) = read_i64(rest)?;
                let (not_after_s, rest) = read_i64(rest)?;
                (Some(Validity { not_before_s, not_after_s }), rest)
            }
            _ => return None,
        };
        Some((TlsSession { authenticated_at_s, client_validity }, rest))
    }
}

fn read_i64(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<8>()?;
    Some((i64::from_be_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW_S: i64 = 1_800_000_000;

    fn session(age_s: i64, client_validity: Option<Validity>) -> TlsSession {
        TlsSession { authenticated_at_s: NOW_S - age_s, client_validity }
    }

    #[test]
    fn a_session_ends_a_day_after_its_full_handshake() {
        assert_eq!(session(0, None).remaining_s(NOW_S), MAX_LINEAGE_S);
        assert_eq!(session(MAX_LINEAGE_S - 1, None).remaining_s(NOW_S), 1);
        assert!(session(MAX_LINEAGE_S, None).remaining_s(NOW_S) <= 0);
    }

    #[test]
    fn a_session_ends_with_the_clients_certificate() {
        let validity = Validity { not_before_s: NOW_S - 10, not_after_s: NOW_S + 10 };
        assert_eq!(session(0, Some(validity)).remaining_s(NOW_S), 10);
        assert!(session(0, Some(validity)).remaining_s(NOW_S + 10) <= 0);
        assert!(session(0, Some(validity)).remaining_s(NOW_S - 11) <= 0);
    }

    #[test]
    fn a_session_from_the_future_ends_at_once() {
        assert!(session(-CLOCK_SKEW_S, None).remaining_s(NOW_S) > 0);
        assert!(session(-CLOCK_SKEW_S - 1, None).remaining_s(NOW_S) <= 0);
    }

    #[test]
    fn another_format_is_not_read() {
        let mut bytes = Vec::new();
        session(0, None).encode(&mut bytes);
        assert!(TlsSession::decode(&bytes).is_some());
        bytes[0] = FORMAT_VERSION + 1;
        assert!(TlsSession::decode(&bytes).is_none());
        bytes[0] = FORMAT_VERSION;
        bytes[1] = WITH_CLIENT + 1;
        assert!(TlsSession::decode(&bytes).is_none());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            authenticated_at_s: i64,
            client: Option<(i64, i64)>,
            plaintext: Vec<u8>,
        ) {
            let client_validity =
                client.map(|(not_before_s, not_after_s)| Validity { not_before_s, not_after_s });
            let session = TlsSession { authenticated_at_s, client_validity };
            let mut bytes = Vec::new();
            session.encode(&mut bytes);
            bytes.extend(&plaintext);
            prop_assert_eq!(TlsSession::decode(&bytes), Some((session, plaintext.as_slice())));
        }

        #[test]
        fn no_bytes_and_no_clock_make_it_panic(bytes: Vec<u8>, now_s: i64) {
            if let Some((session, _)) = TlsSession::decode(&bytes) {
                session.remaining_s(now_s);
            }
        }

        #[test]
        fn no_session_lasts_longer_than_the_cap(
            authenticated_at_s: i64,
            client: Option<(i64, i64)>,
            now_s: i64,
        ) {
            let client_validity =
                client.map(|(not_before_s, not_after_s)| Validity { not_before_s, not_after_s });
            let session = TlsSession { authenticated_at_s, client_validity };
            prop_assert!(session.remaining_s(now_s) <= MAX_LINEAGE_S + CLOCK_SKEW_S);
        }
    }
}
