//! Values of messages, in the forms of protobuf's JSON that Pomerium takes
//! (<https://protobuf.dev/programming-guides/json/>).
//!
//! The keys of a message are rows of the table of keys like all others, with the kind `Message` or
//! `Messages` for what is around them. When the checks run, they are in `snake_case`, unknown keys
//! are reported, and [`Section`] reads texts, flags, durations ("2.5s" is one of Go's) and messages in
//! messages. What it reads otherwise than protobuf is here.

use std::{fmt::Display, ops::RangeInclusive, time::Duration};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::super::section::{Section, scalar_text};

/// A whole number: `3`, `"3"` or `3.0`. An error outside the range.
pub(super) fn number<T>(message: &Section<'_>, key: &str, range: RangeInclusive<T>) -> Option<T>
where
    T: TryFrom<i64> + PartialOrd + Display,
{
    let value = message.value(key)?;
    let whole = scalar_text(value).and_then(|text| whole_number(text.trim()));
    let Some(whole) = whole else {
        message.error(key, "expected a whole number");
        return None;
    };
    match T::try_from(whole) {
        Ok(number) if range.contains(&number) => Some(number),
        _ => {
            let message_text = format!("{whole} is not from {} to {}", range.start(), range.end());
            message.error(key, message_text);
            None
        }
    }
}

/// A percentage in whole numbers.
pub(super) fn percent(message: &Section<'_>, key: &str) -> Option<u8> {
    number(message, key, 0..=100)
}

/// A duration longer than zero.
pub(super) fn positive_duration(message: &Section<'_>, key: &str) -> Option<Duration> {
    let duration = message.duration(key)?;
    if duration.is_zero() {
        message.error(key, "must be longer than zero");
        return None;
    }
    Some(duration)
}

/// A value of an enumeration, by its name or its number.
pub(super) fn enumeration<T: Copy>(
    message: &Section<'_>,
    key: &str,
    values: &[(&str, i64, T)],
) -> Option<T> {
    let text = message.text(key)?;
    let is_it = |(name, number, _): &&(&str, i64, T)| {
        name.eq_ignore_ascii_case(&text) || text.parse() == Ok(*number)
    };
    if let Some((_, _, value)) = values.iter().find(is_it) {
        return Some(*value);
    }
    let names: Vec<&str> = values.iter().map(|(name, ..)| *name).collect();
    message.error_with_hint(
        key,
        format!("`{}` is not an allowed value", text.escape_debug()),
        format!("one of {}", names.join(", ")),
    );
    None
}

/// Bytes in base64: the standard or the URL-safe alphabet, with or without padding.
pub(super) fn bytes(message: &Section<'_>, key: &str) -> Option<Vec<u8>> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, ANY_PADDING);
    let text = message.text(key)?.replace('-', "+").replace('_', "/");
    match STANDARD.decode(text.trim()) {
        Ok(bytes) => Some(bytes),
        Err(_) => {
            message.error_with_hint(key, "is not base64", "printf 'PING' | base64");
            None
        }
    }
}

/// JSON's numbers and strings of digits. A fraction of zero is as good as none.
fn whole_number(text: &str) -> Option<i64> {
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    whole.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_as_protobuf_reads_them() {
        for (text, expected) in [
            ("3", Some(3)),
            ("-1", Some(-1)),
            ("3.0", Some(3)),
            ("3.5", None),
            ("", None),
            ("x", None),
            (".", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(whole_number(text), expected, "{text}");
        }
    }
}
