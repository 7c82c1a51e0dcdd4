//! Combines results into a decision.

use super::reason::{Reason, Reasons};

/// The result of all rules of one action, of one operator, or of one criterion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleResult {
    /// Whether it matches.
    pub value: bool,
    /// The reasons for the value.
    pub reasons: Reasons,
}

impl RuleResult {
    /// Matches if all results match, with all their reasons; otherwise the reasons are those of the
    /// results that do not match.
    pub(super) fn all(results: impl Iterator<Item = RuleResult>) -> RuleResult {
        let tally = Tally::of(results);
        match tally.failed {
            None => RuleResult { value: true, reasons: tally.passed.unwrap_or_default() },
            Some(reasons) => RuleResult { value: false, reasons },
        }
    }

    /// Matches if any result matches, with the reasons of those that do; otherwise the reasons are
    /// those of all results.
    pub(super) fn any(results: impl Iterator<Item = RuleResult>) -> RuleResult {
        let tally = Tally::of(results);
        match tally.passed {
            Some(reasons) => RuleResult { value: true, reasons },
            None => RuleResult { value: false, reasons: tally.failed.unwrap_or_default() },
        }
    }
}

/// The reasons of results that match and of results that do not; `None` if there are none.
#[derive(Default)]
struct Tally {
    passed: Option<Reasons>,
    failed: Option<Reasons>,
}

impl Tally {
    fn of(results: impl Iterator<Item = RuleResult>) -> Tally {
        let mut tally = Tally::default();
        for result in results {
            let side = if result.value { &mut tally.passed } else { &mut tally.failed };
            *side = Some(side.unwrap_or_default().union(result.reasons));
        }
        tally
    }
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyOutcome {
    /// The request is served.
    Allow,
    /// The request is denied (403).
    Deny,
    /// No user is signed in, and the result may depend on the user.
    NeedsSignIn,
    /// The request is denied because it has no client certificate (495).
    ClientCertificateRequired,
    /// The request is denied because its client certificate is invalid (495).
    ClientCertificateInvalid,
}

/// A decision, with the reasons for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyDecision {
    /// What happens to the request.
    pub outcome: PolicyOutcome,
    /// The result of the allow rules: `allow-why-true` or `allow-why-false`.
    pub allow: RuleResult,
    /// The result of the deny rules: `deny-why-true` or `deny-why-false`.
    pub deny: RuleResult,
}

impl PolicyDecision {
    /// Decides in Pomerium's order (`authorize/check_response.go`). Client certificates come before
    /// sign-in, so that users who would be denied afterwards are not sent to sign in. Sign-in comes
    /// before denial, since a deny rule about the user cannot be evaluated without a user.
    pub(super) fn new(allow: RuleResult, deny: RuleResult) -> PolicyDecision {
        let unauthenticated =
            allow.reasons.union(deny.reasons).contains(Reason::UserUnauthenticated);
        let outcome = if let Some(refusal) = certificate_refusal(deny.reasons) {
            refusal
        } else if unauthenticated {
            PolicyOutcome::NeedsSignIn
        } else if deny.value {
            PolicyOutcome::Deny
        } else if allow.value {
            PolicyOutcome::Allow
        } else {
            certificate_refusal(allow.reasons).unwrap_or(PolicyOutcome::Deny)
        };
        PolicyDecision { outcome, allow, deny }
    }

    /// Whether the request is served.
    pub fn is_allowed(&self) -> bool {
        self.outcome == PolicyOutcome::Allow
    }
}

/// Depends only on the reasons, not on the value of the result.
pub(super) fn certificate_refusal(reasons: Reasons) -> Option<PolicyOutcome> {
    if reasons.contains(Reason::ClientCertificateRequired) {
        Some(PolicyOutcome::ClientCertificateRequired)
    } else if reasons.contains(Reason::InvalidClientCertificate) {
        Some(PolicyOutcome::ClientCertificateInvalid)
    } else {
        None
    }
}
