//! Equal lines are written once a second, and then how often they came. Pure: the clock is passed in.

use super::event_line::EventLine;
use std::{
    collections::HashMap,
    mem,
    time::{Duration, Instant},
};

/// How long a line stands for those that equal it.
const WINDOW: Duration = Duration::from_secs(1);

/// The most lines that are remembered. Each has some hundred bytes.
const MAX_LINES: usize = 64;

/// The lines of the last second, without their time.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    /// By what is equal in them.
    lines: HashMap<Box<str>, Written>,
}

#[derive(Debug)]
struct Written {
    line: EventLine,
    at: Instant,
    /// Equal lines that came since, and were not written.
    left_out: u64,
}

/// A line that came more often than it was written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repeated {
    /// The first of them.
    pub(super) line: EventLine,
    /// How many were left out.
    pub(super) left_out: u64,
}

impl Repeats {
    /// Whether a line is written. If too many are remembered, it is.
    pub(super) fn allow(&mut self, line: &EventLine, now: Instant) -> bool {
        match self.lines.get_mut(line.without_time()) {
            Some(written) => {
                written.left_out += 1;
                false
            }
            None => {
                if self.lines.len() < MAX_LINES {
                    let written = Written { line: line.clone(), at: now, left_out: 0 };
                    self.lines.insert(line.without_time().into(), written);
                }
                true
            }
        }
    }

    /// Forgets the lines whose second is over; gives those that were left out meanwhile.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Repeated> {
        let is_due = |written: &Written| now.saturating_duration_since(written.at) >= WINDOW;
        self.take(is_due)
    }

    /// Gives all that were left out, at the end of the log.
    pub(super) fn take_all(&mut self) -> Vec<Repeated> {
        self.take(|_| true)
    }

    /// When the next is due; `None` if none was left out.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let waiting = self.lines.values().filter(|written| written.left_out > 0);
        waiting.map(|written| written.at + WINDOW).min()
    }

    fn take(&mut self, is_due: impl Fn(&Written) -> bool) -> Vec<Repeated> {
        let (due, kept) = mem::take(&mut self.lines).into_iter().partition(|(_, it)| is_due(it));
        self.lines = kept;
        let repeated = |Written { line, left_out, .. }| Repeated { line, left_out };
        let due = HashMap::into_values(due).map(repeated);
        due.filter(|repeated| repeated.left_out > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Level;

    fn line(text: &str) -> EventLine {
        EventLine::of_text(text, Level::Warn)
    }

    #[test]
    fn an_equal_line_is_written_once_a_second_and_then_counted() {
        let (mut repeats, start) = (Repeats::default(), Instant::now());
        assert!(repeats.allow(&line("a"), start));
        assert!(repeats.allow(&line("b"), start));
        assert_eq!(repeats.next_due(), None);
        assert!(!repeats.allow(&line("a"), start));
        assert!(!repeats.allow(&line("a"), start + WINDOW / 2));
        assert_eq!(repeats.next_due(), Some(start + WINDOW));
        assert_eq!(repeats.take_due(start + WINDOW / 2), []);
        let repeated = Repeated { line: line("a"), left_out: 2 };
        assert_eq!(repeats.take_due(start + WINDOW), [repeated]);
        assert!(repeats.allow(&line("a"), start + WINDOW));
    }

    #[test]
    fn no_more_lines_are_remembered_than_allowed_and_none_is_lost() {
        let (mut repeats, now) = (Repeats::default(), Instant::now());
        let lines: Vec<_> = (0..2 * MAX_LINES).map(|at| line(&at.to_string())).collect();
        assert!(lines.iter().all(|line| repeats.allow(line, now)));
        assert_eq!(repeats.lines.len(), MAX_LINES);
        assert_eq!(lines.iter().filter(|line| repeats.allow(line, now)).count(), MAX_LINES);
        assert_eq!(repeats.take_all().len(), MAX_LINES);
    }
}
