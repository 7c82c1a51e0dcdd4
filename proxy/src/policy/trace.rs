//! What can be seen of an evaluation on its way.

use super::{criterion::Criterion, decision::RuleResult, reason::Reason, rule::Group};

/// Sees the result of each criterion, and behind those of an operator its own.
pub(super) trait PolicyTrace {
    fn criterion(&mut self, criterion: &Criterion, value: bool, reason: Reason);
    fn group(&mut self, group: &Group, result: RuleResult);
}

/// Sees nothing: requests are decided about without a trace, and nothing is left of it in their code.
pub(super) struct NoTrace;

impl PolicyTrace for NoTrace {
    #[inline]
    fn criterion(&mut self, _: &Criterion, _: bool, _: Reason) {}

    #[inline]
    fn group(&mut self, _: &Group, _: RuleResult) {}
}
