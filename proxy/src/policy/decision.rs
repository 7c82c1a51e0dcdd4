//! How results are combined, and what they amount to.

use super::reason::{Reason, Reasons};

/// What all rules of one action, one of their operators or one criterion came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleResult {
    /// Whether it holds.
    pub value: bool,
    /// Why it does, or why it does not.
    pub reasons: Reasons,
}

impl RuleResult {
    /// Holds if all do, for all their reasons; else fails for the reasons of those that fail.
    pub(super) fn all(results: impl Iterator<Item = RuleResult>) -> RuleResult {
        let tally = Tally::of(results);
        match tally.failed {
            None => RuleResult { value: true, reasons: tally.passed.unwrap_or_default() },
            Some(reasons) => RuleResult { value: false, reasons },
        }
    }

    /// Holds if any does, for the reasons of those that do; else fails for all their reasons.
    pub(super) fn any(results: impl Iterator<Item = RuleResult>) -> RuleResult {
        let tally = Tally::of(results);
        match tally.passed {
            Some(reasons) => RuleResult { value: true, reasons },
            None => RuleResult { value: false, reasons: tally.failed.unwrap_or_default() },
        }
    }
}

/// The reasons of those that passed and of those that failed; `None` if there was none such.
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

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is served.
    Allow,
    /// It is refused (403).
    Deny,
    /// Nobody is signed in, and it may matter who the user is.
    NeedsSignIn,
    /// It is refused for want of a client certificate (495).
    ClientCertificateRequired,
    /// It is refused for a client certificate that does not hold (495).
    ClientCertificateInvalid,
}

/// A decision, with what the log says of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub outcome: Outcome,
    /// What the allow rules came to: `allow-why-true` or `allow-why-false`.
    pub allow: RuleResult,
    /// What the deny rules came to: `deny-why-true` or `deny-why-false`.
    pub deny: RuleResult,
}

impl Decision {
    /// Decides in Pomerium's order (`authorize/check_response.go`). Client certificates come before
    /// sign-in, so that nobody is sent to sign in who would be refused afterwards; and sign-in
    /// before denying, since a deny rule that asks for the user cannot be judged without one.
    pub(super) fn new(allow: RuleResult, deny: RuleResult) -> Decision {
        let unauthenticated =
            allow.reasons.union(deny.reasons).contains(Reason::UserUnauthenticated);
        let outcome = if let Some(refusal) = certificate_refusal(deny.reasons) {
            refusal
        } else if unauthenticated {
            Outcome::NeedsSignIn
        } else if deny.value {
            Outcome::Deny
        } else if allow.value {
            Outcome::Allow
        } else {
            certificate_refusal(allow.reasons).unwrap_or(Outcome::Deny)
        };
        Decision { outcome, allow, deny }
    }

    /// Whether the request is served.
    pub fn is_allowed(&self) -> bool {
        self.outcome == Outcome::Allow
    }
}

/// Judged by the reasons alone, whether or not the result holds.
fn certificate_refusal(reasons: Reasons) -> Option<Outcome> {
    if reasons.contains(Reason::ClientCertificateRequired) {
        Some(Outcome::ClientCertificateRequired)
    } else if reasons.contains(Reason::InvalidClientCertificate) {
        Some(Outcome::ClientCertificateInvalid)
    } else {
        None
    }
}
