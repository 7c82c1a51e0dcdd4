//! Durations as Go writes them (`time.ParseDuration`): `30s`, `1h30m`, `1.5h`, `0`.

use std::time::Duration;

/// Reads a duration; the error says what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    if text.starts_with('-') && text != "-0" {
        return Err(format!("`{text}` is negative"));
    }
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return Ok(Duration::ZERO);
    }
    if rest.is_empty() {
        return Err("an empty text is not a duration".to_owned());
    }
    let mut nanoseconds: u128 = 0;
    while !rest.is_empty() {
        let (step, after) = component(rest).map_err(|problem| format!("`{text}` {problem}"))?;
        // Go's durations end at 2^63-1 ns (292 years); a longer one is a slip of the pen.
        nanoseconds = nanoseconds
            .checked_add(step)
            .filter(|sum| *sum <= i64::MAX as u128)
            .ok_or_else(|| format!("`{text}` is too long"))?;
        rest = after;
    }
    let seconds = u64::try_from(nanoseconds / NANOSECONDS_PER_SECOND);
    let below = u32::try_from(nanoseconds % NANOSECONDS_PER_SECOND);
    match (seconds, below) {
        (Ok(seconds), Ok(below)) => Ok(Duration::new(seconds, below)),
        _ => Err(format!("`{text}` is too long")),
    }
}

const NANOSECONDS_PER_SECOND: u128 = 1_000_000_000;

/// A number with its unit, in nanoseconds, and what follows it.
fn component(text: &str) -> Result<(u128, &str), String> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(needs_unit)?;
    if number_end == 0 {
        return Err("is not a duration such as 30s, 5m or 1h30m".to_owned());
    }
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale = scale_of(unit).ok_or_else(|| format!("has an unknown unit `{unit}`"))?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err("is not a duration".to_owned());
    }
    let whole = digits(whole)?.checked_mul(scale).ok_or("is too long")?;
    Ok((whole + fraction_of(fraction, scale), rest))
}

fn needs_unit() -> String {
    "has no unit; write 30s, 5m or 1h30m".to_owned()
}

fn scale_of(unit: &str) -> Option<u128> {
    Some(match unit {
        "ns" => 1,
        // The micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => NANOSECONDS_PER_SECOND,
        "m" => 60 * NANOSECONDS_PER_SECOND,
        "h" => 3600 * NANOSECONDS_PER_SECOND,
        _ => return None,
    })
}

fn digits(text: &str) -> Result<u128, String> {
    if text.is_empty() {
        return Ok(0);
    }
    // 19 digits are more than 292 years in any unit, and far from overflowing.
    if text.len() > 19 {
        return Err("is too long".to_owned());
    }
    text.parse().map_err(|_| "is not a duration".to_owned())
}

/// Digits behind the point; what is finer than a nanosecond is cut off, as in Go.
fn fraction_of(digits: &str, scale: u128) -> u128 {
    let mut numerator = 0;
    let mut denominator = 1;
    for digit in digits.bytes().take(18) {
        numerator = numerator * 10 + u128::from(digit - b'0');
        denominator *= 10;
    }
    scale * numerator / denominator
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn go_durations_are_read() {
        for (text, milliseconds) in [
            ("0", 0),
            ("0s", 0),
            ("30s", 30_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            (".5s", 500),
            ("5.s", 5_000),
            ("+3m", 180_000),
            ("14h", 50_400_000),
            ("100ms", 100),
            ("1s500ms", 1_500),
            ("2000us", 2),
            ("2000\u{b5}s", 2),
            ("3000000ns", 3),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused() {
        for text in
            ["", "30", "s", ".s", "1.2.3s", "1d", "1 s", "-1s", "1s-", "1x", "9999999999h", "1e3s"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_told_which_units_there_are() {
        assert_eq!(parse("30").unwrap_err(), "`30` has no unit; write 30s, 5m or 1h30m");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn numbers_and_units_in_any_order_without_a_panic(text in "([0-9.]{0,25}(ns|us|ms|s|m|h|d)?){0,4}") {
            let _ = parse(&text);
        }

        #[test]
        fn components_add_up(h in 0u64..1000, m in 0u64..1000, s in 0u64..1000, ms in 0u64..1000) {
            let expected = Duration::from_millis(((h * 60 + m) * 60 + s) * 1000 + ms);
            prop_assert_eq!(parse(&format!("{h}h{m}m{s}s{ms}ms")), Ok(expected));
        }

        #[test]
        fn a_fraction_of_a_second_keeps_every_nanosecond(ns in 0u32..1_000_000_000) {
            prop_assert_eq!(parse(&format!("7.{ns:09}s")), Ok(Duration::new(7, ns)));
        }
    }
}
