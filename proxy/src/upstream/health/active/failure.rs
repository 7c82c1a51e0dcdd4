//! Why a check has failed.

use super::verdict::CheckResult;

/// The longest text of an error that is kept, in characters.
const MAX_TEXT: usize = 300;

/// Why a check has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct CheckFailure {
    /// For the log and status; one line of printable characters.
    pub(super) text: String,
    /// The endpoint said itself that it is down: one failure is enough.
    pub(super) is_for_sure: bool,
}

impl CheckFailure {
    /// No answer, or one that counts as one failure.
    pub(super) fn counted(text: impl AsRef<str>) -> CheckFailure {
        CheckFailure { text: line(text.as_ref()), is_for_sure: false }
    }

    /// An answer that makes the endpoint unhealthy at once.
    pub(super) fn for_sure(text: impl AsRef<str>) -> CheckFailure {
        CheckFailure { text: line(text.as_ref()), is_for_sure: true }
    }

    /// For the verdict.
    pub(super) fn result(&self) -> CheckResult {
        match self.is_for_sure {
            true => CheckResult::FailedForSure,
            false => CheckResult::Failed,
        }
    }
}

/// Errors may quote what the endpoint has sent.
fn line(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
