//! Handovers that are too long for a URL. Pure.

use bytes::Bytes;

use super::expiring::ExpiringMap;

/// How long a handover is kept, in seconds.
const KEPT_S: u64 = 60;
/// Maximum number of handovers.
const MOST: usize = 4096;
/// Maximum size of all handovers together, in bytes.
const MOST_BYTES: usize = 32 << 20;

/// Sealed handovers by their id, each given out once.
#[derive(Debug)]
pub(super) struct Handovers {
    sealed: ExpiringMap<[u8; 16], Bytes>,
    bytes: usize,
    most_bytes: usize,
}

impl Handovers {
    /// Keeps a handover; `false` if there is no room.
    pub(super) fn keep(&mut self, id: [u8; 16], sealed: Bytes, now_s: u64) -> bool {
        self.remove_expired(now_s);
        let bytes = self.bytes + sealed.len();
        if self.sealed.len() >= MOST || bytes > self.most_bytes || self.sealed.get(id).is_some() {
            return false;
        }
        self.bytes = bytes;
        self.sealed.insert(id, now_s.saturating_add(KEPT_S), sealed);
        true
    }

    /// Gives a handover out. It is gone then.
    pub(super) fn take(&mut self, id: [u8; 16], now_s: u64) -> Option<Bytes> {
        self.remove_expired(now_s);
        let sealed = self.sealed.remove(id)?;
        self.bytes -= sealed.len();
        Some(sealed)
    }

    /// Forgets handovers that nobody took in time.
    pub(super) fn remove_expired(&mut self, now_s: u64) {
        let expired = self.sealed.remove_expired(now_s);
        self.bytes -= expired.iter().map(|(_, sealed)| sealed.len()).sum::<usize>();
    }
}

impl Default for Handovers {
    fn default() -> Self {
        Handovers { sealed: ExpiringMap::default(), bytes: 0, most_bytes: MOST_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: Bytes = Bytes::from_static(b"sealed");

    #[test]
    fn a_handover_is_given_out_once_within_a_minute() {
        let mut handovers = Handovers::default();
        assert!(handovers.keep([1; 16], SEALED, 0));
        assert!(handovers.keep([2; 16], SEALED, 0));
        assert!(!handovers.keep([2; 16], SEALED, 0), "an id is not used twice");
        assert_eq!(handovers.take([1; 16], 60), Some(SEALED));
        assert_eq!(handovers.take([1; 16], 60), None);
        assert_eq!(handovers.take([2; 16], 61), None);
        assert_eq!(handovers.bytes, 0);
    }

    #[test]
    fn what_handovers_hold_together_is_bounded() {
        let mut handovers = Handovers { most_bytes: 11, ..Handovers::default() };
        assert!(handovers.keep([1; 16], SEALED, 0));
        assert!(!handovers.keep([2; 16], SEALED, 0));
        assert!(handovers.keep([2; 16], SEALED, 61), "the first has expired");
        for number in 0..MOST + 10 {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&number.to_be_bytes());
            handovers.keep(id, Bytes::new(), 61);
        }
        assert_eq!(handovers.sealed.len(), MOST);
    }
}
