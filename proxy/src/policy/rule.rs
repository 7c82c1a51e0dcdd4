//! Rules: criteria under operators, under an action.

use super::{criterion::Criterion, decision::RuleResult, request::PolicyInput};

/// One rule, as [`parse()`](super::parse()) made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub(super) action: Action,
    pub(super) groups: Vec<Group>,
}

impl Rule {
    /// Whether it allows those whom it matches.
    pub fn allows(&self) -> bool {
        self.action == Action::Allow
    }
}

/// The effect of a rule that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Allow,
    Deny,
}

/// How criteria are combined. The names are Pomerium's; the meanings of `not` and `nor` are not those
/// of logic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    /// All match.
    And,
    /// Any matches.
    Or,
    /// None matches.
    Not,
    /// Any does not match.
    Nor,
}

/// The criteria under one operator, at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) operator: Operator,
    pub(super) criteria: Vec<Criterion>,
}

impl Group {
    pub(super) fn evaluate(&self, request: &PolicyInput<'_>) -> RuleResult {
        // Inversion changes only the value: the reasons stay those of the criterion.
        let inverted = matches!(self.operator, Operator::Not | Operator::Nor);
        let results = self.criteria.iter().map(|criterion| {
            let (value, reason) = criterion.evaluate(request);
            RuleResult { value: value != inverted, reasons: reason.into() }
        });
        match self.operator {
            Operator::And | Operator::Not => RuleResult::all(results),
            Operator::Or | Operator::Nor => RuleResult::any(results),
        }
    }
}
