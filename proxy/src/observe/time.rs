//! Points in time as RFC 3339 writes them, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: i64 = 86_400;

/// Milliseconds since the epoch.
pub(super) fn epoch_ms(time: SystemTime) -> i64 {
    let since = |d: std::time::Duration| i64::try_from(d.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => since(after),
        Err(before) => -since(before.duration()),
    }
}

/// `2026-01-31T23:59:59.123Z`
pub(super) fn rfc3339_ms(epoch_ms: i64) -> String {
    let (seconds, ms) = (epoch_ms.div_euclid(1000), epoch_ms.rem_euclid(1000));
    let (date, time) = date_and_time(seconds);
    format!("{date}T{time}.{ms:03}Z")
}

/// `2026-01-31T23:59:59Z`
pub(super) fn rfc3339_s(epoch_s: i64) -> String {
    let (date, time) = date_and_time(epoch_s);
    format!("{date}T{time}Z")
}

fn date_and_time(epoch_s: i64) -> (String, String) {
    let (year, month, day) = civil_from_days(epoch_s.div_euclid(SECONDS_PER_DAY));
    let second = epoch_s.rem_euclid(SECONDS_PER_DAY);
    let time = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    (format!("{year:04}-{month:02}-{day:02}"), time)
}

/// The Gregorian date of a day counted from 1970-01-01. Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms": years begin in March, so that leap days come last.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097; // 400 years
    let shifted = days + 719_468; // days from 0000-03-01
    let era = shifted.div_euclid(DAYS_PER_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_PER_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_times_are_written_as_rfc_3339_does() {
        assert_eq!(rfc3339_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339_ms(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(rfc3339_s(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339_s(4_107_542_399), "2100-02-28T23:59:59Z");
        assert_eq!(rfc3339_s(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(rfc3339_ms(1_785_715_200_123), "2026-08-03T00:00:00.123Z");
    }

    proptest! {
        #[test]
        fn every_second_is_written_as_an_http_date_says(epoch_s in 0_i64..253_402_300_800) {
            let time = UNIX_EPOCH + std::time::Duration::from_secs(epoch_s as u64);
            let http = httpdate::fmt_http_date(time); // Sun, 06 Nov 1994 08:49:37 GMT
            let ours = rfc3339_s(epoch_s);
            prop_assert_eq!(&ours[0..4], &http[12..16]);
            prop_assert_eq!(&ours[8..10], &http[5..7]);
            prop_assert_eq!(&ours[11..19], &http[17..25]);
            let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
            let month: usize = ours[5..7].parse().unwrap();
            prop_assert_eq!(&months[3 * (month - 1)..3 * month], &http[8..11]);
        }
    }
}
