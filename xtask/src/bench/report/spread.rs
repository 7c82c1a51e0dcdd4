//! A figure over the rounds of a run.

use crate::bench::model::{Figure, Sample};

/// The values of all rounds: never empty, all finite.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    /// One value for each round, in the order of the rounds.
    pub(super) rounds: Vec<f64>,
}

impl Spread {
    /// `None` without values.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let rounds: Vec<_> = values.into_iter().filter(|value| value.is_finite()).collect();
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get((sorted.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max, rounds })
    }

    /// The spread of a figure over the samples that have it.
    pub(super) fn of_figure(samples: &[&Sample], figure: Figure) -> Option<Self> {
        Self::of(samples.iter().filter_map(|sample| sample.figures.get(&figure).copied()))
    }

    /// Whether a ratio is farther from 1 than its rounds are from each other. Three rounds are
    /// required: two that agree prove nothing.
    pub(super) fn is_beyond_itself(&self) -> bool {
        self.rounds.len() >= 3 && (self.median - 1.0).abs() > self.max - self.min
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(values: &[f64]) -> Spread {
        Spread::of(values.iter().copied()).unwrap()
    }

    #[test]
    fn the_median_is_the_middle_value_or_the_mean_of_the_two() {
        assert_eq!(spread(&[9.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(spread(&[9.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!(spread(&[7.0]).median, 7.0);
    }

    #[test]
    fn the_spread_keeps_its_ends_and_the_order_of_the_rounds() {
        let spread = spread(&[3.0, 1.0, 2.0]);
        assert_eq!((spread.min, spread.max), (1.0, 3.0));
        assert_eq!(spread.rounds, [3.0, 1.0, 2.0]);
    }

    #[test]
    fn what_is_no_number_counts_for_nothing() {
        assert_eq!(Spread::of([]), None);
        assert_eq!(Spread::of([f64::NAN, f64::INFINITY]), None);
        assert_eq!(spread(&[f64::NAN, 4.0]).rounds, [4.0]);
    }

    #[test]
    fn a_ratio_is_beyond_its_spread_only_where_its_rounds_agree() {
        assert!(spread(&[0.90, 0.91, 0.92]).is_beyond_itself());
        assert!(spread(&[1.10, 1.11, 1.12]).is_beyond_itself());
        assert!(!spread(&[0.90, 0.97, 0.99]).is_beyond_itself());
        assert!(!spread(&[0.90, 1.00, 1.10]).is_beyond_itself());
        assert!(!spread(&[0.50, 0.50]).is_beyond_itself(), "two rounds");
    }
}
