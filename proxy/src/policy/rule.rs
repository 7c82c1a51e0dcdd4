//! Rules: criteria under operators, under an action.

use std::fmt;

use super::{criterion::Criterion, decision::RuleResult, request::PolicyInput, trace::PolicyTrace};

/// One rule, as [`parse()`](super::parse()) made it.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    pub(super) action: Action,
    pub(super) place: RulePlace,
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

/// Where a rule stands in its route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RulePlace {
    /// In `policy`: in this item of a list, or in its one mapping.
    Policy(Option<u32>, Action),
    /// In the keys that are older than the policy language.
    OlderKeys,
    /// In `downstream_mtls.enforcement`, which adds a rule to every route that has a client CA.
    Enforcement,
}

/// `policy[0].deny`, below the place of the route.
impl fmt::Display for RulePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let action = |action: &Action| match action {
            Action::Allow => "allow",
            Action::Deny => "deny",
        };
        match self {
            RulePlace::Policy(Some(item), of) => write!(f, "policy[{item}].{}", action(of)),
            RulePlace::Policy(None, of) => write!(f, "policy.{}", action(of)),
            RulePlace::OlderKeys => f.write_str("allowed_users"),
            RulePlace::Enforcement => f.write_str("downstream_mtls.enforcement"),
        }
    }
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

impl Operator {
    /// As the configuration writes it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Operator::And => "and",
            Operator::Or => "or",
            Operator::Not => "not",
            Operator::Nor => "nor",
        }
    }
}

/// The criteria under one operator, at least one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) operator: Operator,
    pub(super) criteria: Vec<Criterion>,
    pub(super) place: RulePlace,
}

impl Group {
    pub(super) fn evaluate(
        &self,
        request: &PolicyInput<'_>,
        trace: &mut impl PolicyTrace,
    ) -> RuleResult {
        // Inversion changes only the value: the reasons stay those of the criterion.
        let inverted = matches!(self.operator, Operator::Not | Operator::Nor);
        let results = self.criteria.iter().map(|criterion| {
            let (value, reason) = criterion.evaluate(request);
            trace.criterion(criterion, value, reason);
            RuleResult { value: value != inverted, reasons: reason.into() }
        });
        let result = match self.operator {
            Operator::And | Operator::Not => RuleResult::all(results),
            Operator::Or | Operator::Nor => RuleResult::any(results),
        };
        trace.group(self, result);
        result
    }
}
