//! Times as people read them.

use time::OffsetDateTime;

/// `30 November 2026, 14:05 UTC`. Without a script a page does not know the reader's time zone.
pub(super) fn date_and_time(unix_s: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(unix_s) else {
        return format!("second {unix_s} since 1970");
    };
    let (day, month, year) = (time.day(), time.month(), time.year());
    format!("{day} {month} {year}, {:02}:{:02} UTC", time.hour(), time.minute())
}

/// `30 November 2026, 14:05:09 UTC`.
pub(super) fn to_the_second(unix_s: i64) -> String {
    let second = format!(":{:02} UTC", unix_s.rem_euclid(60));
    date_and_time(unix_s).replace(" UTC", &second)
}

/// `in 13 hours 5 minutes`.
pub(super) fn from_now(unix_s: u64, now_s: u64) -> String {
    let minutes = unix_s.saturating_sub(now_s) / 60;
    let count = |number: u64, one: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    };
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => "in less than a minute".to_owned(),
        (0, 0, minutes) => format!("in {}", count(minutes, "minute")),
        (0, hours, 0) => format!("in {}", count(hours, "hour")),
        (0, hours, minutes) => format!("in {} {}", count(hours, "hour"), count(minutes, "minute")),
        (days, 0, _) => format!("in {}", count(days, "day")),
        (days, hours, _) => format!("in {} {}", count(days, "day"), count(hours, "hour")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_with_its_month_and_zone() {
        assert_eq!(date_and_time(0), "1 January 1970, 00:00 UTC");
        assert_eq!(date_and_time(1_796_047_509), "30 November 2026, 14:05 UTC");
        assert_eq!(to_the_second(1_796_047_509), "30 November 2026, 14:05:09 UTC");
        assert_eq!(date_and_time(i64::MAX), "second 9223372036854775807 since 1970");
    }

    #[test]
    fn the_rest_of_a_session_is_told_in_two_units() {
        assert_eq!(from_now(59, 0), "in less than a minute");
        assert_eq!(from_now(5, 10), "in less than a minute");
        assert_eq!(from_now(60, 0), "in 1 minute");
        assert_eq!(from_now(7_260, 0), "in 2 hours 1 minute");
        assert_eq!(from_now(3_600, 0), "in 1 hour");
        assert_eq!(from_now(86_400 * 3 + 60, 0), "in 3 days");
        assert_eq!(from_now(86_400 + 7_200, 0), "in 1 day 2 hours");
    }
}
