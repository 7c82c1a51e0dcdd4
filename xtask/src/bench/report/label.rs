//! How figures are printed: three significant digits, and the unit of measure.

use crate::bench::model::{Figure, Work};

use super::spread::Spread;

/// The primary figure of the work: `CPU µs per request`.
pub(super) fn primary(work: &Work) -> String {
    heading(work.primary, &work.unit)
}

/// The heading of a figure, with the unit of work if the figure is per unit.
pub(super) fn heading(figure: Figure, unit: &str) -> String {
    let name = figure.heading();
    match figure {
        _ if unit.is_empty() => name.to_owned(),
        Figure::CpuUsPerUnit
        | Figure::SystemCallsPerUnit
        | Figure::ClientCpuUsPerUnit
        | Figure::UnguardedCpuUsPerUnit
        | Figure::UpstreamHandshakesPerUnit => format!("{name} per {unit}"),
        Figure::UnitsPerSecond => format!("{unit}s per second"),
        _ => name.to_owned(),
    }
}

/// Three significant digits, or the whole number if that is longer.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 99.95 => thousands(value),
        _ if size >= 9.995 => format!("{value:.1}"),
        _ if value == 0.0 => "0".to_owned(),
        _ if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A value of this figure: counts have no fraction.
pub(super) fn value(figure: Figure, value: f64) -> String {
    let counted = figure == Figure::Dropped && value.fract() == 0.0;
    if counted { thousands(value) } else { number(value) }
}

/// `20.1–21.3`; empty if both ends print the same.
pub(super) fn range(figure: Figure, spread: &Spread) -> String {
    let (min, max) = (value(figure, spread.min), value(figure, spread.max));
    if min == max { String::new() } else { format!("{min}–{max}") }
}

/// A ratio with two digits after the point, like the aims.
pub(super) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

/// `(0.77–0.81)`; empty if there is only one round.
pub(super) fn ratio_ends(spread: &Spread) -> String {
    match spread.rounds.len() {
        0 | 1 => String::new(),
        _ => format!("({}–{})", ratio(spread.min), ratio(spread.max)),
    }
}

/// `0.77–0.81 in 3 rounds`.
pub(super) fn ratio_range(spread: &Spread) -> String {
    match spread.rounds.len() {
        1 => "one round".to_owned(),
        rounds => format!("{}–{} in {rounds} rounds", ratio(spread.min), ratio(spread.max)),
    }
}

/// A whole number with commas: `1,288`.
pub(super) fn thousands(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < -0.5 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in a suitable unit: `250 µs`, `1.5 ms`, `2 s`.
pub(super) fn time_us(us: f64) -> String {
    let (value, unit) = match us {
        _ if us >= 1e6 => (us / 1e6, "s"),
        _ if us >= 1e3 => (us / 1e3, "ms"),
        _ => (us, "µs"),
    };
    format!("{value} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_mean_something() {
        let shown = [0.0, 0.1234, 1.0, 9.994, 9.996, 20.49, 99.96, 342.4, 1288.0, 1234567.8];
        let expected =
            ["0", "0.123", "1.00", "9.99", "10.0", "20.5", "100", "342", "1,288", "1,234,568"];
        assert_eq!(shown.map(number), expected);
        assert_eq!(thousands(-1234.0), "-1,234");
    }

    #[test]
    fn what_is_counted_has_no_fraction() {
        assert_eq!(value(Figure::Dropped, 55.0), "55");
        assert_eq!(value(Figure::Dropped, 2.5), "2.50");
        assert_eq!(value(Figure::SlowestMs, 55.0), "55.0");
    }

    #[test]
    fn figures_for_a_unit_name_it() {
        assert_eq!(heading(Figure::CpuUsPerUnit, "request"), "CPU µs per request");
        assert_eq!(heading(Figure::UnitsPerSecond, "handshake"), "handshakes per second");
        assert_eq!(heading(Figure::SlowestMs, "request"), "slowest ms");
    }

    #[test]
    fn one_round_has_no_range() {
        let spread = Spread::of([1.0]).unwrap();
        assert_eq!(range(Figure::CpuUsPerUnit, &spread), "");
        assert_eq!(ratio_range(&spread), "one round");
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        assert_eq!([1.0, 500.0, 2e3, 1e6].map(time_us), ["1 µs", "500 µs", "2 ms", "1 s"]);
    }
}
