//! `and`, `or`, `not`, `nor`, and how rules add up.

use super::*;

const T: &str = "accept: 1";
const F: &str = "reject: 1";

/// `operator` over the criteria, as the only one of an allow rule.
fn result(operator: &str, criteria: &[&str]) -> String {
    let criteria: Vec<String> = criteria.iter().map(|one| format!("{{{one}}}")).collect();
    let text = format!("allow: {{{operator}: [{}]}}", criteria.join(", "));
    allow(&text, &Facts::default())
}

#[test]
fn and_fails_for_the_reasons_of_its_failed_criteria() {
    assert_eq!(result("and", &[T, T]), "true accept");
    assert_eq!(result("and", &[T, F]), "false reject");
    assert_eq!(result("and", &[F, "http_method: POST"]), "false http-method-unauthorized, reject");
}

#[test]
fn or_holds_if_any_holds_for_the_reasons_of_those_that_hold() {
    assert_eq!(result("or", &[F, T]), "true accept");
    assert_eq!(result("or", &[T, "http_method: GET", F]), "true accept, http-method-ok");
    assert_eq!(result("or", &[F, "http_method: POST"]), "false http-method-unauthorized, reject");
}

#[test]
fn not_holds_if_none_holds() {
    assert_eq!(result("not", &[F, F]), "true reject");
    assert_eq!(result("not", &[F, T]), "false accept");
    assert_eq!(result("not", &[T, T]), "false accept");
}

#[test]
fn nor_holds_if_any_does_not_hold() {
    assert_eq!(result("nor", &[T, F]), "true reject");
    assert_eq!(result("nor", &[F, F]), "true reject");
    assert_eq!(result("nor", &[T, T]), "false accept");
}

#[test]
fn the_operators_of_one_rule_are_alternatives() {
    let text = |and, or| format!("allow: {{and: [{{{and}}}], or: [{{{or}}}]}}");
    assert_eq!(allow(&text(T, F), &Facts::default()), "true accept");
    assert_eq!(allow(&text(F, T), &Facts::default()), "true accept");
    assert_eq!(allow(&text(F, F), &Facts::default()), "false reject");
}

#[test]
fn several_rules_of_one_action_are_alternatives() {
    let text = "[{allow: {and: [{reject: 1}]}}, {allow: {and: [{accept: 1}]}}]";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::Allow);
    let text =
        "[{deny: {and: [{reject: 1}]}}, {deny: {and: [{accept: 1}]}, allow: {or: [{accept: 1}]}}]";
    assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::Deny);
}

#[test]
fn an_operator_without_criteria_does_not_hold() {
    for operator in ["and", "or", "not", "nor"] {
        assert_eq!(result(operator, &[]), "false", "{operator}");
    }
}

#[test]
fn no_rule_at_all_allows_nobody() {
    for text in ["[]", "{}", "allow: {}", "[{}]", "deny: {or: [{reject: 1}]}"] {
        assert_eq!(decide(text, &Facts::default()).outcome, PolicyOutcome::Deny, "{text}");
    }
}

#[test]
fn deny_wins_over_allow() {
    let text = "{allow: {or: [{accept: 1}]}, deny: {or: [{accept: 1}]}}";
    let decision = decide(text, &Facts::default());
    assert_eq!(decision.outcome, PolicyOutcome::Deny);
    assert_eq!(
        (show(decision.allow), show(decision.deny)),
        ("true accept".into(), "true accept".into())
    );
}

#[test]
fn merged_alternatives_of_or_keep_their_reasons() {
    let text =
        "allow: {or: [{email: {is: a@x}}, {email: {in: [b@x, c@x]}}, {user: d}, {reject: 1}]}";
    assert_eq!(allow(text, &of_user("u", "c@x")), "true email-ok");
    assert_eq!(allow(text, &of_user("d", "a@x")), "true email-ok, user-ok");
    assert_eq!(
        allow(text, &of_user("u", "d@x")),
        "false email-unauthorized, reject, user-unauthorized"
    );
    assert_eq!(allow(text, &Facts::default()), "false reject, user-unauthenticated");
}
