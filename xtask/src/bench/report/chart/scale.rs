//! Scales from values to places, with their ticks.

/// A scale from 0 to at least `max`, in steps of 1, 2 or 5 times a power of ten.
pub(super) struct Linear {
    pub(super) ticks: Vec<f64>,
    end: f64,
}

impl Linear {
    pub(super) fn new(max: f64) -> Self {
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let rough = max / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
        let step = step.into_iter().find(|step| *step >= rough * 0.999).unwrap_or(10.0 * power);
        let count = (max / step * 0.9999).ceil();
        let ticks = (0..=count as u32).map(|tick| f64::from(tick) * step).collect();
        Self { ticks, end: count * step }
    }

    /// The place of a value, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value / self.end).clamp(0.0, 1.0)
    }
}

/// A logarithmic scale between two values that are 1, 2 or 5 times a power of ten.
pub(super) struct Logarithmic {
    pub(super) ticks: Vec<f64>,
    start: f64,
    end: f64,
}

impl Logarithmic {
    /// Both are at least 1.
    pub(super) fn new(min: f64, max: f64) -> Self {
        let (min, max) = (min.max(1.0), max.max(min).max(1.0));
        let mut all: Vec<f64> = Vec::new();
        for power in 0..20 {
            all.extend([1.0, 2.0, 5.0].map(|times| times * 10_f64.powi(power)));
        }
        let first = all.iter().rposition(|tick| *tick <= min).unwrap_or(0);
        let last = all.iter().position(|tick| *tick >= max).unwrap_or(all.len() - 1);
        let last = last.max(first + 1).min(all.len() - 1);
        let ticks = all.get(first..=last).unwrap_or_default().to_vec();
        let (start, end) = (ticks.first().copied(), ticks.last().copied());
        Self { ticks, start: start.unwrap_or(1.0), end: end.unwrap_or(10.0) }
    }

    /// The place of a value, from 0 to 1.
    pub(super) fn place(&self, value: f64) -> f64 {
        ((value / self.start).ln() / (self.end / self.start).ln()).clamp(0.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_scale_begins_at_nothing_and_reaches_the_most() {
        assert_eq!(Linear::new(78.8).ticks, [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(Linear::new(1.0).ticks.last(), Some(&1.0));
        assert_eq!(Linear::new(80.0).place(40.0), 0.5);
        for max in [0.0, f64::NAN, 0.003, 1e9] {
            let scale = Linear::new(max);
            assert!((3..=11).contains(&scale.ticks.len()), "{max}: {:?}", scale.ticks);
            assert!(scale.place(max.max(0.0)) <= 1.0);
        }
    }

    #[test]
    fn a_logarithmic_scale_has_room_for_both_ends() {
        let scale = Logarithmic::new(150.0, 9_000.0);
        assert_eq!(scale.ticks, [100.0, 200.0, 500.0, 1e3, 2e3, 5e3, 1e4]);
        assert_eq!((scale.place(100.0), scale.place(1_000.0), scale.place(1e4)), (0.0, 0.5, 1.0));
        assert_eq!(Logarithmic::new(0.0, 0.0).ticks, [1.0, 2.0]);
    }
}
