//! Smooth weighted round robin, as nginx does it: in every run of as many picks as the weights sum
//! to, each endpoint gets exactly its weight of them, spread out rather than in bursts.

/// The state of the turns.
#[derive(Debug)]
pub(in crate::upstream) struct RoundRobin {
    credits: Box<[i64]>,
}

impl RoundRobin {
    /// Skips the first `skip` turns, so that workers do not all begin with the first endpoint.
    pub(in crate::upstream) fn new(weights: &[u32], skip: usize) -> RoundRobin {
        let mut turns = RoundRobin { credits: weights.iter().map(|_| 0).collect() };
        for _ in 0..skip % weights.len().max(1) {
            turns.next(weights);
        }
        turns
    }

    /// Each endpoint earns its weight; the one with the most credit is picked and pays the sum of
    /// all weights. One of weight 0 has no turn, and keeps its credit until it has a weight again.
    pub(in crate::upstream) fn next(&mut self, weights: &[u32]) -> usize {
        let mut total = 0;
        let mut richest = 0;
        let mut most = i64::MIN;
        for (index, (credit, weight)) in self.credits.iter_mut().zip(weights).enumerate() {
            if *weight == 0 {
                continue;
            }
            *credit += i64::from(*weight);
            total += i64::from(*weight);
            if *credit > most {
                most = *credit;
                richest = index;
            }
        }
        if let Some(credit) = self.credits.get_mut(richest) {
            *credit -= total;
        }
        richest
    }
}
