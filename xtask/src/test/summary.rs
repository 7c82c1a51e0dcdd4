//! The sum of the test runner's result lines, one for each test binary.

use std::fmt;

/// Counts over all test binaries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) ignored: usize,
    /// The tests that could not run here, and why.
    pub(super) not_run: Vec<String>,
}

impl Summary {
    /// Reads a line that the test runner or a test wrote.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
        } else if let Some(reason) = line.strip_prefix("not run: ") {
            self.not_run.push(reason.to_owned());
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        let more = [(self.ignored, "ignored"), (self.not_run.len(), "not run")];
        more.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, what)| write!(f, ", {n} {what}"))
    }
}

/// The number before a word, as in `ok. 12 passed; 0 failed; ...`.
fn count(result: &str, word: &str) -> usize {
    let words: Vec<_> = result.split_whitespace().collect();
    let place = words.iter().position(|found| found.trim_end_matches(';') == word);
    let before = place.and_then(|place| words.get(place.checked_sub(1)?));
    before.and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Summary {
        let mut summary = Summary::default();
        lines.iter().for_each(|line| summary.read(line));
        summary
    }

    #[test]
    fn the_results_of_all_test_binaries_are_added_up() {
        let summary = read(&[
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 40 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.50s",
        ]);
        assert_eq!((summary.passed, summary.failed, summary.ignored), (43, 2, 1));
        assert_eq!(summary.to_string(), "43 passed, 2 failed, 1 ignored");
    }

    #[test]
    fn colours_around_the_verdict_do_not_hide_the_counts() {
        let line = "test result: \u{1b}[32mok\u{1b}(B\u{1b}[m. 7 passed; 0 failed; 0 ignored;";
        assert_eq!(read(&[line]).passed, 7);
    }

    #[test]
    fn a_test_that_was_not_run_is_named_with_its_reason() {
        let summary = read(&["not run: needs root: network namespaces"]);
        assert_eq!(summary.not_run, ["needs root: network namespaces"]);
        assert_eq!(summary.to_string(), "0 passed, 0 failed, 1 not run");
    }

    #[test]
    fn a_line_of_a_test_that_only_resembles_a_result_counts_nothing() {
        assert_eq!(read(&["the test result: 5 passed", "test result: passed"]), Summary::default());
    }
}
