//! Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): a table whose slots the endpoints
//! claim in turn, each in its own order of preference. Shares are nearly exact, a look-up is one
//! load, and when an endpoint is removed, few clients of the other endpoints move.

use super::{Candidate, hashes};

/// The paper's small table, a prime: shares are exact within 1 % up to some 600 endpoints.
pub(super) const TABLE_SIZE: u64 = 65_537;

const FREE: u32 = u32::MAX;

/// The endpoint of each slot.
#[derive(Debug)]
pub(in crate::upstream) struct Maglev {
    slots: Box<[u32]>,
}

impl Maglev {
    /// `size` is a prime, so that every order visits every slot.
    pub(super) fn new(candidates: &[Candidate], size: u64) -> Maglev {
        let mut claimants = claimants(candidates, size);
        let size_or_none = if claimants.is_empty() { 0 } else { size };
        let mut slots = vec![FREE; usize::try_from(size_or_none).unwrap_or(0)];
        let richest = claimants.iter().map(|claimant| claimant.weight).max().unwrap_or(1);
        let mut free = slots.len();
        while free > 0 {
            for claimant in &mut claimants {
                if free > 0 && claimant.has_turn(richest) {
                    claimant.claim(&mut slots, size);
                    free -= 1;
                }
            }
        }
        Maglev { slots: slots.into() }
    }

    pub(super) fn find(&self, hash: u64) -> usize {
        let slot = hash.checked_rem(self.slots.len() as u64).unwrap_or(0);
        let owner = usize::try_from(slot).ok().and_then(|slot| self.slots.get(slot));
        owner.map_or(0, |owner| *owner as usize)
    }
}

/// An endpoint while the table is filled. Its order of preference is `(start + n * step) % size`.
struct Claimant {
    index: u32,
    identity_hash: u64,
    position: u64,
    step: u64,
    weight: u64,
    credit: u64,
}

impl Claimant {
    /// The heaviest endpoint gets a turn in every round, the others in proportion to their weight.
    fn has_turn(&mut self, richest: u64) -> bool {
        self.credit += self.weight;
        let enough = self.credit >= richest;
        if enough {
            self.credit -= richest;
        }
        enough
    }

    /// Takes the first free slot in its order. The caller stops once no slot is free.
    fn claim(&mut self, slots: &mut [u32], size: u64) {
        for _ in 0..size {
            let slot = usize::try_from(self.position).ok().and_then(|at| slots.get_mut(at));
            self.position = (self.position + self.step) % size;
            if let Some(slot) = slot.filter(|slot| **slot == FREE) {
                *slot = self.index;
                return;
            }
        }
    }
}

fn claimants(candidates: &[Candidate], size: u64) -> Vec<Claimant> {
    let mut claimants: Vec<_> = (0..)
        .zip(candidates)
        .map(|(index, candidate)| {
            let [start, step, identity_hash, _] = hashes(&candidate.identity);
            Claimant {
                index,
                identity_hash,
                position: start % size,
                step: step % (size - 1) + 1,
                weight: u64::from(candidate.weight.max(1)),
                credit: 0,
            }
        })
        .collect();
    // The order in a round decides between endpoints that prefer the same slot, so it must not
    // depend on the order in the file.
    claimants.sort_unstable_by_key(|claimant| claimant.identity_hash);
    claimants
}
