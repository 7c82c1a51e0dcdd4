//! Chooses the endpoint of a cluster for a request. Pure: randomness and load are passed in.
//!
//! Tables are compiled once per snapshot and shared; each worker keeps the state that changes with
//! requests (the turns of round robin).

mod maglev;
mod random;
mod ring;
mod round_robin;
#[cfg(test)]
mod tests;

use maglev::Maglev;
use random::{Weighted, least_request};
use ring::Ring;
pub(super) use round_robin::RoundRobin;

use std::sync::Arc;

use portcullis_abi::SplitMix64;

use super::BalancePolicy;
use crate::digest::sha256;

/// An endpoint, as the balancer sees it.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Identifies the endpoint independently of its position, so that hashing agrees between
    /// workers, reloads and machines.
    pub(super) identity: String,
    /// Relative share, at least 1.
    pub(super) weight: u32,
}

/// A policy with its tables. Large ones are shared by copies.
#[derive(Debug, Clone)]
pub(super) enum Balance {
    RoundRobin(Box<[u32]>),
    LeastRequest(Weighted),
    Random(Weighted),
    RingHash(Arc<Ring>),
    Maglev(Arc<Maglev>),
}

impl Balance {
    /// Compiles the tables. [`Balance::pick`] returns indices into `candidates`.
    pub(super) fn new(policy: BalancePolicy, candidates: &[Candidate]) -> Balance {
        let weights = || candidates.iter().map(|candidate| candidate.weight.max(1));
        match policy {
            BalancePolicy::RoundRobin => Balance::RoundRobin(weights().collect()),
            BalancePolicy::LeastRequest => Balance::LeastRequest(Weighted::new(weights())),
            BalancePolicy::Random => Balance::Random(Weighted::new(weights())),
            BalancePolicy::RingHash => Balance::RingHash(Ring::new(candidates).into()),
            BalancePolicy::Maglev => {
                Balance::Maglev(Maglev::new(candidates, maglev::TABLE_SIZE).into())
            }
        }
    }

    /// The same tables without some endpoints, with the indices of all; `None` for a policy whose tables
    /// are compiled from the others alone.
    pub(super) fn only(&self, is_kept: impl Fn(usize) -> bool) -> Option<Balance> {
        match self {
            Balance::RingHash(ring) => Some(Balance::RingHash(ring.only(is_kept).into())),
            _ => None,
        }
    }

    /// Chooses an endpoint for a client with this hash.
    ///
    /// `turn` returns the worker's own state for round robin, `in_flight` the number of this
    /// worker's open requests to an endpoint.
    pub(super) fn pick(
        &self,
        client_hash: u64,
        random: &mut SplitMix64,
        in_flight: impl Fn(usize) -> usize,
        turn: impl FnOnce(&[u32]) -> usize,
    ) -> usize {
        match self {
            Balance::RoundRobin(weights) => turn(weights),
            Balance::LeastRequest(weights) => least_request(weights, random, in_flight),
            Balance::Random(weights) => weights.draw(random),
            Balance::RingHash(ring) => ring.find(spread(client_hash)),
            Balance::Maglev(table) => table.find(spread(client_hash)),
        }
    }
}

/// Spreads a hash of any quality over all 64 bits (the finalizer of MurmurHash3).
fn spread(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Four independent hashes of one string. SHA-256 rather than a fast hash: tables are built once,
/// and must be the same on every machine and in every version.
fn hashes(text: &str) -> [u64; 4] {
    let digest = sha256(text.as_bytes());
    let mut hashes = [0; 4];
    for (hash, bytes) in hashes.iter_mut().zip(digest.chunks_exact(8)) {
        *hash = bytes.iter().fold(0, |hash, byte| (hash << 8) | u64::from(*byte));
    }
    hashes
}
