//! A hasher for keys that are already hashes.

use std::hash::{BuildHasherDefault, Hasher};

/// For keys that are a single number and that no client can choose: digests, counters. They are
/// distributed well enough; the default hasher's protection would only cost time.
pub(super) type BuildNumberHasher = BuildHasherDefault<NumberHasher>;

#[derive(Debug, Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // Fibonacci hashing (Knuth, TAOCP volume 3, section 6.4): tables look at the upper bits too,
        // which are all zero in a counter.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, hash::BuildHasher};

    use super::*;

    #[test]
    fn numbers_in_a_row_differ_in_their_upper_and_lower_bits() {
        let hashes: Vec<_> =
            (0..64_u64).map(|n| BuildNumberHasher::default().hash_one(n)).collect();
        let upper: HashSet<_> = hashes.iter().map(|hash| hash >> 57).collect();
        let lower: HashSet<_> = hashes.iter().map(|hash| hash & 63).collect();
        assert!(upper.len() > 32 && lower.len() == 64, "{upper:?} {lower:?}");
    }
}
