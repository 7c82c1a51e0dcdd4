//! Request ids: 128 random bits in the text form of a UUID, as Envoy writes them.

use std::cell::Cell;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use ring::rand::{SecureRandom, SystemRandom};

/// The header that carries a request's id, to the upstream and back to the client.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id of somebody else that we keep.
const MAX_BYTES: usize = 128;

/// A worker's source of ids: xoshiro256++ (Blackman and Vigna, 2019), seeded by the system. Ids
/// tell requests apart; they are no secret.
#[derive(Debug)]
pub(crate) struct RequestIds {
    state: Cell<[u64; 4]>,
}

impl RequestIds {
    /// Seeded by the operating system; its failure to give random bytes leaves a seed of addresses
    /// and time, since ids need not be secret.
    pub(crate) fn new() -> RequestIds {
        let mut seed = [0; 32];
        if SystemRandom::new().fill(&mut seed).is_err() {
            let here = std::ptr::from_ref(&seed).addr() as u64;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.map_or(0, |since| since.as_nanos() as u64);
            seed[..8].copy_from_slice(&here.to_le_bytes());
            seed[8..16].copy_from_slice(&nanos.to_le_bytes());
        }
        RequestIds::seeded(seed)
    }

    fn seeded(seed: [u8; 32]) -> RequestIds {
        let mut state = [0; 4];
        for (word, bytes) in state.iter_mut().zip(seed.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        state[3] |= 1; // an all-zero state would stay so
        RequestIds { state: Cell::new(state) }
    }

    /// A new id.
    pub(crate) fn next(&self) -> HeaderValue {
        // Version 4, variant 1 (RFC 9562 section 5.4).
        let high = self.random() & !0xf000 | 0x4000;
        let low = self.random() & !(0b11 << 62) | 0b10 << 62;
        uuid(u128::from(high) << 64 | u128::from(low))
    }

    fn random(&self) -> u64 {
        let [mut a, mut b, mut c, mut d] = self.state.get();
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = d.rotate_left(45);
        self.state.set([a, b, c, d]);
        result
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
        let ids = RequestIds::seeded([0; 32]);
        let all: std::collections::HashSet<_> =
            (0..10_000).map(|_| ids.next().as_bytes().to_vec()).collect();
        assert_eq!(all.len(), 10_000);
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
