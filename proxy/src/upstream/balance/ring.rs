//! A Ketama-style hash ring: each endpoint has many points on a circle, and a client belongs to the
//! next point clockwise. When an endpoint is removed, only its own clients move.

use super::{Candidate, hashes};

/// Points for each endpoint of mean weight: shares come within some 8 % of the weights.
const POINTS_EACH: usize = 160;
/// The least number of points in total (Envoy's default): with few endpoints, more points cost
/// little memory.
const POINTS_MIN: usize = 1024;
const POINTS_MAX: usize = 1 << 16;

/// The points, in their order on the circle.
#[derive(Debug)]
pub(in crate::upstream) struct Ring {
    points: Box<[(u64, usize)]>,
}

impl Ring {
    pub(super) fn new(candidates: &[Candidate]) -> Ring {
        let target = (candidates.len() * POINTS_EACH).clamp(POINTS_MIN, POINTS_MAX) as u64;
        let total: u64 = candidates.iter().map(|c| u64::from(c.weight.max(1))).sum();
        let mut points: Vec<_> = candidates
            .iter()
            .enumerate()
            .flat_map(|(index, candidate)| {
                let share = target * u64::from(candidate.weight.max(1)) / total;
                points_of(&candidate.identity, share.max(1)).map(move |point| (point, index))
            })
            .collect();
        points.sort_unstable();
        Ring { points: points.into() }
    }

    /// The ring without the points of some endpoints: only their clients move.
    pub(super) fn only(&self, is_kept: impl Fn(usize) -> bool) -> Ring {
        let points = self.points.iter().filter(|(_, index)| is_kept(*index));
        Ring { points: points.copied().collect() }
    }

    pub(super) fn find(&self, hash: u64) -> usize {
        let next = self.points.partition_point(|(point, _)| *point < hash);
        let point = self.points.get(next).or_else(|| self.points.first());
        point.map_or(0, |(_, index)| *index)
    }
}

fn points_of(identity: &str, count: u64) -> impl Iterator<Item = u64> {
    let digests = (0..count.div_ceil(4)).flat_map(move |n| hashes(&format!("{identity}#{n}")));
    digests.take(usize::try_from(count).unwrap_or(usize::MAX))
}
