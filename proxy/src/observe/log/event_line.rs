//! A line of the program itself, on its way to the log.

use std::ops::Range;

use super::super::{Level, time};

/// A line of the program itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EventLine {
    /// With its end.
    pub(super) text: String,
    pub(super) level: Level,
    /// Where its time stands.
    pub(super) time: Range<usize>,
}

impl EventLine {
    /// What is the same in equal lines.
    pub(super) fn without_time(&self) -> &str {
        self.text.get(self.time.end..).unwrap_or_default()
    }

    /// The line once more, as of now, with the number of equal lines that were left out.
    pub(super) fn repeated(&self, left_out: u64, now_ms: i64) -> EventLine {
        let head = self.text.get(..self.time.start).unwrap_or_default();
        let now = time::rfc3339_ms(now_ms);
        let time = head.len()..head.len() + time::RFC3339_MS_LEN;
        let rest = self.without_time().trim_end_matches('\n');
        // Only JSON has its time in quotes.
        let is_json = head.ends_with('"');
        let text = match rest.strip_suffix('}').filter(|_| is_json) {
            Some(fields) => format!("{head}{now}{fields},\"repeated\":{left_out}}}\n"),
            None => format!("{head}{now}{rest} repeated={left_out}\n"),
        };
        EventLine { text, level: self.level, time }
    }

    #[cfg(test)]
    pub(super) fn of_text(text: &str, level: Level) -> EventLine {
        EventLine { text: text.to_owned(), level, time: 0..0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{LogFormat, log::line::Line};

    #[test]
    fn a_repeated_line_has_its_own_time_and_a_count() {
        for (format, count) in
            [(LogFormat::Json, ",\"repeated\":7}\n"), (LogFormat::Text, " repeated=7\n")]
        {
            let mut text = String::new();
            let mut line = Line::begin(&mut text, format, 0, Level::Warn, "m");
            line.number("n", 1);
            let time = line.time();
            line.end();
            let first = EventLine { text, level: Level::Warn, time };
            let repeated = first.repeated(7, 86_400_000);
            assert!(first.text.contains("1970-01-01T00:00:00.000Z"), "{first:?}");
            assert!(repeated.text.contains("1970-01-02T00:00:00.000Z"), "{repeated:?}");
            assert!(!repeated.text.contains("1970-01-01"), "{repeated:?}");
            assert!(repeated.text.ends_with(count), "{repeated:?}");
            let (rest, again) = (first.without_time(), repeated.without_time());
            let fields = rest.trim_end_matches(['}', '\n']);
            assert!(again.starts_with(fields), "{again}");
        }
    }
}
