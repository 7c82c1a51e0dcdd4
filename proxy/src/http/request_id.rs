//! Request ids: 128 random bits in the text form of a UUID, as Envoy writes them.

use std::cell::RefCell;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use portcullis_abi::SplitMix64;
use ring::rand::{SecureRandom, SystemRandom};

/// The header that carries a request's id, to the upstream and back to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of somebody else that we keep.
const MAX_BYTES: usize = 128;

/// A worker's source of ids. They tell requests apart and are no secret, so a fast generator is
/// enough. Each half has a generator of its own, since one seed of 64 bits is too short: of 100,000
/// workers (a fleet with its restarts) that give out 10^9 ids each, two would probably come into the
/// same sequence.
#[derive(Debug)]
pub(crate) struct RequestIds {
    halves: RefCell<[SplitMix64; 2]>,
}

impl RequestIds {
    /// Seeded by the operating system; its failure to give random bytes leaves a seed of addresses
    /// and time, since ids need not be secret.
    pub(crate) fn new() -> RequestIds {
        let mut seeds = [[0; 8]; 2];
        if SystemRandom::new().fill(seeds.as_flattened_mut()).is_err() {
            let here = std::ptr::from_ref(&seeds).addr() as u64;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.map_or(0, |since| since.as_nanos() as u64);
            seeds = [here, nanos].map(u64::to_le_bytes);
        }
        RequestIds::seeded(seeds.map(u64::from_le_bytes))
    }

    fn seeded(seeds: [u64; 2]) -> RequestIds {
        RequestIds { halves: RefCell::new(seeds.map(SplitMix64::new)) }
    }

    /// A new id.
    pub(crate) fn next(&self) -> HeaderValue {
        let [high, low] = &mut *self.halves.borrow_mut();
        // Version 4, variant 1 (RFC 9562 section 5.4).
        let high = high.next_u64() & !0xf000 | 0x4000;
        let low = low.next_u64() & !(0b11 << 62) | 0b10 << 62;
        uuid(u128::from(high) << 64 | u128::from(low))
    }
}

/// Whether an id that a trusted proxy sent is kept: short, and plain enough for logs and pages.
pub(crate) fn is_acceptable(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=".contains(byte);
    !bytes.is_empty() && bytes.len() <= MAX_BYTES && bytes.iter().all(plain)
}

fn uuid(bits: u128) -> HeaderValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = Vec::with_capacity(36);
    for (index, byte) in bits.to_be_bytes().into_iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push(b'-');
        }
        text.extend([DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
    }
    // Digits and dashes are always a header value.
    HeaderValue::from_maybe_shared(Bytes::from(text))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_has_the_form_of_a_random_uuid() {
        let ids = RequestIds::new();
        for _ in 0..100 {
            let id = ids.next();
            let id = id.to_str().unwrap();
            assert_eq!(id.len(), 36);
            let parts: Vec<usize> = id.split('-').map(str::len).collect();
            assert_eq!(parts, [8, 4, 4, 4, 12]);
            assert_eq!(id.as_bytes()[14], b'4');
            assert!(b"89ab".contains(&id.as_bytes()[19]));
            assert!(is_acceptable(&HeaderValue::from_str(id).unwrap()));
        }
    }

    #[test]
    fn the_text_holds_every_bit() {
        let id = uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        assert_eq!(id, "01234567-89ab-cdef-0123-456789abcdef");
    }

    #[test]
    fn ids_differ() {
        let ids = RequestIds::seeded([0; 2]);
        let all: HashSet<_> = (0..10_000).map(|_| ids.next().as_bytes().to_vec()).collect();
        assert_eq!(all.len(), 10_000);
    }

    #[test]
    fn workers_that_share_half_of_a_seed_share_no_id() {
        let ids = |seeds| {
            let ids = RequestIds::seeded(seeds);
            (0..100).map(|_| ids.next().as_bytes().to_vec()).collect::<HashSet<_>>()
        };
        let one = ids([1, 2]);
        for other in [[1, 3], [3, 2], [2, 1]] {
            assert!(one.is_disjoint(&ids(other)), "{other:?}");
        }
    }

    #[test]
    fn long_or_odd_ids_of_others_are_not_kept() {
        assert!(is_acceptable(&HeaderValue::from_static("abc-1_2.3:4/5+6=")));
        for odd in ["", "a b", "<script>", "a\"b"] {
            assert!(!is_acceptable(&HeaderValue::from_static(odd)), "{odd}");
        }
        assert!(!is_acceptable(&HeaderValue::from_str(&"a".repeat(129)).unwrap()));
    }
}
