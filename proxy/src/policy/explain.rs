//! An evaluation in full, for people.

use serde::Serialize;

use super::{
    Policy, PolicyDecision,
    criterion::Criterion,
    decision::{RuleResult, certificate_refusal},
    describe::{describe, older_key},
    reason::Reason,
    request::PolicyInput,
    rule::{Group, RulePlace},
    trace::{NoTrace, PolicyTrace},
};

/// The criteria under one operator of a rule, with their results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExplainedRule {
    /// `routes[3].policy[0].allow.or`; for older keys these.
    pub place: String,
    /// `and`, `or`, `not` or `nor`.
    pub operator: &'static str,
    /// Whether the criteria under the operator match as a whole.
    pub matches: bool,
    /// Each of them.
    pub criteria: Vec<ExplainedCriterion>,
}

/// A criterion with its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ExplainedCriterion {
    /// In words: `email is a@example.com`.
    pub criterion: String,
    /// Whether it matches. Under `not` and `nor` the opposite counts.
    pub matches: bool,
    /// Pomerium's name of the reason.
    pub reason: &'static str,
}

impl Policy {
    /// Decides as [`Policy::evaluate`] does, and says how: the allow rules, then the deny rules.
    /// `route` is the place of the route that has the policy: `routes[3]`.
    pub(crate) fn explain(
        &self,
        request: &PolicyInput<'_>,
        route: &str,
    ) -> (PolicyDecision, Vec<ExplainedRule>) {
        let mut trace = FullTrace { route, rules: Vec::new(), criteria: Vec::new() };
        let decision = self.evaluate_with(request, &mut trace);
        (decision, trace.rules)
    }

    /// Where the rule stands that decided about a request that is not allowed: the first deny rule
    /// that matches, `routes[3].policy[0].deny`. Without one no allow rule matches: the place is that
    /// of the only one, or of the policy.
    pub(crate) fn refusing_rule(&self, request: &PolicyInput<'_>, route: &str) -> String {
        let results =
            || self.deny.iter().map(|group| (group, group.evaluate(request, &mut NoTrace)));
        let denies = results().find(|(_, result)| result.value);
        // Without a certificate, a deny rule decides by its reasons alone.
        let refuses = || results().find(|(_, it)| certificate_refusal(it.reasons).is_some());
        if let Some((group, _)) = denies.or_else(refuses) {
            return place(group, route);
        }
        match self.allow.as_slice() {
            [first, rest @ ..] if rest.iter().all(|group| group.place == first.place) => {
                place(first, route)
            }
            _ => format!("{route}.policy"),
        }
    }
}

fn place(group: &Group, route: &str) -> String {
    match group.place {
        RulePlace::Policy(..) => format!("{route}.{}", group.place),
        RulePlace::OlderKeys => format!("{route}.{}", older_keys(group)),
        RulePlace::Enforcement => group.place.to_string(),
    }
}

/// The keys that the criteria stand in: `allowed_users, allowed_domains`.
fn older_keys(group: &Group) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for key in group.criteria.iter().map(older_key) {
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys.join(", ")
}

struct FullTrace<'a> {
    route: &'a str,
    rules: Vec<ExplainedRule>,
    /// Of the operator that is being evaluated.
    criteria: Vec<ExplainedCriterion>,
}

impl PolicyTrace for FullTrace<'_> {
    fn criterion(&mut self, criterion: &Criterion, value: bool, reason: Reason) {
        let criterion = describe(criterion);
        self.criteria.push(ExplainedCriterion { criterion, matches: value, reason: reason.name() });
    }

    fn group(&mut self, group: &Group, result: RuleResult) {
        let operator = group.operator.name();
        let place = match group.place {
            RulePlace::Policy(..) => format!("{}.{operator}", place(group, self.route)),
            RulePlace::OlderKeys | RulePlace::Enforcement => place(group, self.route),
        };
        let criteria = std::mem::take(&mut self.criteria);
        self.rules.push(ExplainedRule { place, operator, matches: result.value, criteria });
    }
}
