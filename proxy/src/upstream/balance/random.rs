//! Random choice by weight, and least request of two choices (Mitzenmacher, "The Power of Two
//! Choices in Randomized Load Balancing", 2001).

use portcullis_abi::SplitMix64;

/// Weights as running sums, to draw from.
#[derive(Debug, Clone)]
pub(in crate::upstream) struct Weighted {
    /// The end of each endpoint's range, which begins at the end of the previous one.
    ends: Box<[u64]>,
}

impl Weighted {
    pub(super) fn new(weights: impl Iterator<Item = u32>) -> Weighted {
        let ends = weights.scan(0, |sum, weight| {
            *sum += u64::from(weight);
            Some(*sum)
        });
        Weighted { ends: ends.collect() }
    }

    pub(super) fn draw(&self, random: &mut SplitMix64) -> usize {
        self.at(random.below(self.total()))
    }

    /// Draws among all endpoints but one.
    pub(super) fn draw_other(&self, random: &mut SplitMix64, than: usize) -> usize {
        let (start, weight) = (self.start(than), self.weight(than));
        let drawn = random.below(self.total() - weight);
        self.at(if drawn < start { drawn } else { drawn + weight })
    }

    fn at(&self, position: u64) -> usize {
        self.ends.partition_point(|end| *end <= position)
    }

    fn total(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    fn start(&self, index: usize) -> u64 {
        index.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    fn weight(&self, index: usize) -> u64 {
        self.ends.get(index).copied().unwrap_or(0) - self.start(index)
    }
}

/// Draws two different endpoints by weight and takes the one with fewer requests for its weight. If
/// both are idle it takes the first, so that shares follow the weights.
pub(super) fn least_request(
    weights: &Weighted,
    random: &mut SplitMix64,
    in_flight: impl Fn(usize) -> usize,
) -> usize {
    let first = weights.draw(random);
    if weights.ends.len() < 2 {
        return first;
    }
    let second = weights.draw_other(random, first);
    // first / weight(first) > second / weight(second), without the division
    let load = |index, other| in_flight(index) as u128 * u128::from(weights.weight(other));
    if load(first, second) > load(second, first) { second } else { first }
}
