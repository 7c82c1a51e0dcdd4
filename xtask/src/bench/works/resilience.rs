//! W16: what it costs to check, eject and limit an endpoint that is well.

use anyhow::{Context, Result};

use super::{Bench, Load, load};
use crate::bench::{
    model::{Figure, Sample},
    peers::{Guards, Peer, Setup},
};

/// Without, with, with, without: a drift of the machine within a round then affects both alike.
const ORDER: [Guards; 4] = [Guards::Off, Guards::On, Guards::On, Guards::Off];

/// The load with the keys and without, in one round.
pub(super) fn measure(
    bench: &Bench<'_>,
    kind: &Load,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    // The first health check asks for it.
    bench.body(kind.body)?;
    let measure = |guards| {
        let setup = Setup { guards: Some(guards), ..Setup::default() };
        load::measure(bench, kind, setup, peer, round)
    };
    let samples = ORDER.into_iter().map(measure).collect::<Result<Vec<_>>>()?;
    beside(&samples)
}

/// The sample with the keys, with the CPU time of both beside each other.
fn beside(samples: &[Sample]) -> Result<Sample> {
    let cpu_of = |guards: Guards| -> Result<f64> {
        let those = samples.iter().zip(ORDER).filter(|(_, theirs)| *theirs == guards);
        let costs = those.map(|(sample, _)| sample.figures.get(&Figure::CpuUsPerUnit).copied());
        let costs = costs.collect::<Option<Vec<_>>>().context("no CPU time")?;
        Ok(costs.iter().sum::<f64>() / costs.len().max(1) as f64)
    };
    let (with, without) = (cpu_of(Guards::On)?, cpu_of(Guards::Off)?);
    let mut sample = samples.get(1).context("no sample")?.clone();
    sample.errors = samples.iter().map(|sample| sample.errors).sum();
    sample.first_error = samples.iter().find_map(|sample| sample.first_error.clone());
    sample.figures.insert(Figure::CpuUsPerUnit, with);
    sample.figures.insert(Figure::UnguardedCpuUsPerUnit, without);
    sample.figures.insert(Figure::CpuToUnguarded, with / without);
    Ok(sample)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn sample(cpu_us: f64, errors: u64) -> Sample {
        let figures = BTreeMap::from([(Figure::CpuUsPerUnit, cpu_us)]);
        Sample { figures, errors, ..Sample::default() }
    }

    #[test]
    fn a_drift_within_a_round_affects_both_alike() {
        let samples = [10.0, 11.0, 12.0, 13.0].map(|cpu_us| sample(cpu_us, 1));
        let both = beside(&samples).unwrap();
        assert_eq!(both.figures[&Figure::CpuToUnguarded], 1.0);
        assert_eq!(both.figures[&Figure::UnguardedCpuUsPerUnit], 11.5);
        assert_eq!(both.errors, 4, "a failure without the keys counts too");
        assert!(beside(&[Sample::default()]).is_err());
    }
}
