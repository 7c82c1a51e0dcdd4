//! Compiles the settings of a route into a policy, as Pomerium does (`config/policy_ppl.go`).

use super::{
    Needs, Policy,
    claim::{ListCondition, ListMatcher},
    criterion::{Criterion, Subject},
    matcher::StringMatcher,
    rule::{Action, Group, Operator, RulePlace},
    spec::PolicySpec,
};

impl Policy {
    /// Compiles the settings of a route.
    pub fn new(spec: &PolicySpec) -> Policy {
        let mut allow = groups(spec, Action::Allow);
        let mut deny = groups(spec, Action::Deny);
        add(&mut allow, (Operator::Or, RulePlace::OlderKeys), older_keys(spec));
        if spec.deny_invalid_client_certificate {
            let but_preflights = spec.cors_allow_preflight;
            let invalid = Criterion::InvalidClientCertificate { but_preflights };
            add(&mut deny, (Operator::Or, RulePlace::Enforcement), vec![invalid]);
        }
        let needs = needs(allow.iter().chain(&deny));
        Policy { allow, deny, needs }
    }
}

fn groups(spec: &PolicySpec, action: Action) -> Vec<Group> {
    let mut groups = Vec::new();
    for rule in spec.rules.iter().filter(|rule| rule.action == action) {
        for group in &rule.groups {
            add(&mut groups, (group.operator, rule.place), group.criteria.clone());
        }
    }
    groups
}

/// An operator without criteria has no effect, as in Pomerium: `and: []` does not match.
fn add(
    groups: &mut Vec<Group>,
    (operator, place): (Operator, RulePlace),
    criteria: Vec<Criterion>,
) {
    if criteria.is_empty() {
        return;
    }
    let criteria = if operator == Operator::Or { merge(criteria) } else { criteria };
    groups.push(Group { operator, criteria, place });
}

/// The keys that are older than the policy language, as criteria of which any must match.
fn older_keys(spec: &PolicySpec) -> Vec<Criterion> {
    let mut criteria = Vec::new();
    if spec.allow_public_unauthenticated_access {
        criteria.push(Criterion::Accept);
    }
    if spec.cors_allow_preflight {
        criteria.push(Criterion::CorsPreflight);
    }
    if spec.allow_any_authenticated_user {
        criteria.push(Criterion::AuthenticatedUser);
    }
    for domain in not_empty(&spec.allowed_domains) {
        criteria.push(Criterion::Text(Subject::Domain, StringMatcher::is(domain)));
    }
    for claim in &spec.allowed_idp_claims {
        let matcher = ListMatcher::new(vec![ListCondition::Has(claim.value.clone())]);
        criteria.push(Criterion::Claim(claim.path.clone(), matcher));
    }
    for user in not_empty(&spec.allowed_users) {
        criteria.push(Criterion::Text(Subject::User, StringMatcher::is(user)));
        criteria.push(Criterion::Text(Subject::Email, StringMatcher::is(user)));
    }
    criteria
}

/// An empty text is a template without its variable. It would match a user without an email
/// address.
fn not_empty(texts: &[String]) -> impl Iterator<Item = &String> {
    texts.iter().filter(|text| !text.is_empty())
}

/// Criteria that compare the same text with constants become one look-up. Under `or` this changes
/// neither the value nor the reasons, which are the same for each of them.
fn merge(criteria: Vec<Criterion>) -> Vec<Criterion> {
    let mut constants: Vec<(Subject, Vec<Box<str>>)> = Vec::new();
    let mut merged = Vec::new();
    for criterion in criteria {
        let Some((subject, texts)) = compared_with(&criterion) else {
            merged.push(criterion);
            continue;
        };
        match constants.iter_mut().find(|(known, _)| *known == subject) {
            Some((_, known)) => known.extend_from_slice(texts),
            None => constants.push((subject, texts.to_vec())),
        }
    }
    let look_up = |(subject, texts)| Criterion::Text(subject, StringMatcher::one_of(texts));
    merged.extend(constants.into_iter().map(look_up));
    merged
}

fn compared_with(criterion: &Criterion) -> Option<(Subject, &[Box<str>])> {
    match criterion {
        Criterion::Text(subject, matcher) => Some((*subject, matcher.constants()?)),
        _ => None,
    }
}

fn needs<'a>(groups: impl Iterator<Item = &'a Group>) -> Needs {
    let mut needs = Needs::default();
    for criterion in groups.flat_map(|group| &group.criteria) {
        needs.client_certificate |= criterion.needs_client_certificate();
        needs.identity |= criterion.needs_identity();
    }
    needs
}
