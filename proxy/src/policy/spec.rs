//! The settings of a route that decide who may use it.

use super::{
    claim::{ClaimPath, ClaimValue},
    rule::Rule,
};

/// The keys of a route that decide who may use it, and the rule that client-certificate
/// enforcement adds. By default nobody is allowed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PolicySpec {
    /// Everybody is allowed.
    pub allow_public_unauthenticated_access: bool,
    /// Every CORS preflight is allowed.
    pub cors_allow_preflight: bool,
    /// Every signed-in user is allowed.
    pub allow_any_authenticated_user: bool,
    /// Users with an email address in one of these domains are allowed. Empty texts allow nobody.
    pub allowed_domains: Vec<String>,
    /// Users with one of these claims are allowed.
    pub allowed_idp_claims: Vec<AllowedClaim>,
    /// Users with one of these IDs or email addresses are allowed. Empty texts allow nobody.
    pub allowed_users: Vec<String>,
    /// The rules of `policy`.
    pub rules: Vec<Rule>,
    /// Whether an invalid client certificate is always denied:
    /// `policy_with_default_deny` and `reject_connection`, where a client CA is configured.
    pub deny_invalid_client_certificate: bool,
}

/// One value of one claim of `allowed_idp_claims`.
#[derive(Debug, Clone, PartialEq)]
pub struct AllowedClaim {
    pub(super) path: ClaimPath,
    pub(super) value: ClaimValue,
}
