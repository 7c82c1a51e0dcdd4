//! Points in time as RFC 3339 writes them, in UTC.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use time::OffsetDateTime;

/// Milliseconds since the epoch.
pub(super) fn epoch_ms(time: SystemTime) -> i64 {
    let since = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// The time now, to the second.
pub(crate) fn now_rfc3339() -> String {
    rfc3339_s(epoch_ms(SystemTime::now()).div_euclid(1000)).to_string()
}

/// The length of what [`rfc3339_ms`] writes, in bytes.
pub(super) const RFC3339_MS_LEN: usize = "2026-01-31T23:59:59.123Z".len();

/// `2026-01-31T23:59:59.123Z`
pub(super) fn rfc3339_ms(epoch_ms: i64) -> impl fmt::Display {
    Rfc3339 { epoch_s: epoch_ms.div_euclid(1000), ms: Some(epoch_ms.rem_euclid(1000)) }
}

/// `2026-01-31T23:59:59Z`
pub(super) fn rfc3339_s(epoch_s: i64) -> impl fmt::Display {
    Rfc3339 { epoch_s, ms: None }
}

struct Rfc3339 {
    epoch_s: i64,
    ms: Option<i64>,
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every time of a certificate or a clock is in range; another one is shown as the nearest.
        let time = OffsetDateTime::from_unix_timestamp(self.epoch_s.clamp(FIRST_S, LAST_S))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        let month = u8::from(month);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match self.ms {
            Some(ms) => write!(f, ".{ms:03}Z"),
            None => f.write_str("Z"),
        }
    }
}

/// 0000-01-01T00:00:00Z, the first time that RFC 3339 can write.
const FIRST_S: i64 = -62_167_219_200;

/// 9999-12-31T23:59:59Z, the last one.
const LAST_S: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_as_rfc_3339_does() {
        assert_eq!(rfc3339_ms(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339_s(951_782_400).to_string(), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339_s(4_107_542_399).to_string(), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339_s(4_107_542_400).to_string(), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339_ms(1_785_715_200_123).to_string(), "2026-08-03T00:00:00.123Z");
    }

    #[test]
    fn times_beyond_four_digits_of_years_are_shown_as_the_nearest() {
        assert_eq!(rfc3339_s(i64::MAX).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339_s(LAST_S).to_string(), "9999-12-31T23:59:59Z");
        assert_eq!(rfc3339_s(FIRST_S).to_string(), "0000-01-01T00:00:00Z");
        assert_eq!(rfc3339_s(i64::MIN).to_string(), "0000-01-01T00:00:00Z");
    }

    proptest! {
        #[test]
        fn every_second_is_written_as_an_http_date_says(epoch_s in 0_i64..253_402_300_800) {
            let time = UNIX_EPOCH + std::time::Duration::from_secs(epoch_s as u64);
            let http = httpdate::fmt_http_date(time); // Sun, 06 Nov 1994 08:49:37 GMT
            let ours = rfc3339_s(epoch_s).to_string();
            prop_assert_eq!(&ours[0..4], &http[12..16]);
            prop_assert_eq!(&ours[8..10], &http[5..7]);
            prop_assert_eq!(&ours[11..19], &http[17..25]);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month: usize = ours[5..7].parse().unwrap();
            prop_assert_eq!(&months[3 * (month - 1)..3 * month], &http[8..11]);
        }
    }
}
