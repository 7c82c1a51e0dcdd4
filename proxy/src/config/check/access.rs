//! The access rules of a route: its policy, and the older keys.

use super::{
    super::{diagnostic::Severity, section::Section},
    inspect::any_on,
};
use crate::policy::{
    AllowedClaim, Policy, PolicyError, PolicySpec, Rule, parse, parse_allowed_idp_claims,
};

/// Keys that allow users in Pomerium. The last two are rejected elsewhere.
const GRANTS: [&str; 7] = [
    "policy",
    "allow_any_authenticated_user",
    "allowed_users",
    "allowed_domains",
    "allowed_idp_claims",
    "allowed_groups",
    "sub_policies",
];

/// The older keys that name users.
const LISTS: [&str; 3] = ["allowed_users", "allowed_domains", "allowed_idp_claims"];

/// Reads a route's policy. `deny_invalid_client_certificate` is what enforcement adds to it.
pub(super) fn policy(route: &Section<'_>, deny_invalid_client_certificate: bool) -> Policy {
    let public = route.flag("allow_public_unauthenticated_access").unwrap_or(false);
    let any_user = route.flag("allow_any_authenticated_user").unwrap_or(false);
    check_contradictions(route, public, any_user);
    let rules = rules(route);
    if public && rules.iter().any(Rule::allows) {
        let message = "everybody may use this route, except those whom its policy denies: the \
            policy's allow rules change nothing";
        let hint = "remove the allow rules, or this key";
        route.warn_with_hint("allow_public_unauthenticated_access", message, hint);
    }
    if !public && !any_on(route, &GRANTS) {
        let hint = "set allow_public_unauthenticated_access: true to allow everybody";
        warn(route, "nobody is allowed to use this route: it has no policy", hint);
    }
    Policy::new(&PolicySpec {
        allow_public_unauthenticated_access: public,
        cors_allow_preflight: route.flag("cors_allow_preflight").unwrap_or(false),
        allow_any_authenticated_user: any_user,
        allowed_domains: route.list("allowed_domains"),
        allowed_idp_claims: allowed_idp_claims(route),
        allowed_users: route.list("allowed_users"),
        rules,
        deny_invalid_client_certificate,
    })
}

/// Warns if a policy depends on the user and no setting identifies users.
pub(super) fn warn_of_nobody(route: &Section<'_>, policy: &Policy, is_identified: bool) {
    if policy.needs().identity && !is_identified {
        let message = "its policy depends on the user, and nobody can sign in: these criteria \
            match nobody";
        let hint = "set idp_provider; or portcullis.client_certificate_identity and a client CA, \
            to identify users by their client certificate";
        warn(route, message, hint);
    }
}

fn check_contradictions(route: &Section<'_>, public: bool, any_user: bool) {
    let lists = LISTS.into_iter().find(|list| any_on(route, &[list]));
    let whitelist = lists.or(any_user.then_some("allow_any_authenticated_user"));
    if let (true, Some(list)) = (public, whitelist) {
        let message = "route marked as public but contains whitelists";
        let hint = format!("remove it, or `{list}`");
        route.error_with_hint("allow_public_unauthenticated_access", message, hint);
    } else if let (true, Some(list)) = (any_user, lists) {
        let message = "route marked accessible for any authenticated user but contains whitelists";
        let hint = format!("remove it, or `{list}`");
        route.error_with_hint("allow_any_authenticated_user", message, hint);
    }
}

fn rules(route: &Section<'_>) -> Vec<Rule> {
    let Some(value) = route.value("policy") else { return Vec::new() };
    reported(route, parse(value, &route.path_of("policy")))
}

fn allowed_idp_claims(route: &Section<'_>) -> Vec<AllowedClaim> {
    let key = "allowed_idp_claims";
    let Some(value) = route.value(key) else { return Vec::new() };
    reported(route, parse_allowed_idp_claims(value, &route.path_of(key)))
}

fn reported<T>(route: &Section<'_>, parsed: Result<Vec<T>, Vec<PolicyError>>) -> Vec<T> {
    parsed.unwrap_or_else(|errors| {
        for PolicyError { key_path, message, hint } in errors {
            route.context().report(Severity::Error, &key_path, message, hint);
        }
        Vec::new()
    })
}

fn warn(route: &Section<'_>, message: &str, hint: &str) {
    let hint = Some(hint.to_owned());
    route.context().report(Severity::Warning, route.path(), message, hint);
}
