//! Who may use a route: Pomerium's policy language, compiled. Pure: no I/O, clock, randomness or
//! log.
//!
//! [`parse()`] reads the `policy` of a route, [`PolicySpec`] adds its older keys, and [`Policy`]
//! decides. A policy without any rule allows nobody, and a deny rule that holds wins over every
//! allow rule.

mod address;
mod certificate;
mod claim;
mod compile;
mod criterion;
mod decision;
mod describe;
mod email;
mod explain;
mod matcher;
mod parse;
mod reason;
mod request;
mod rule;
mod spec;
mod trace;

pub(crate) use decision::PolicyDecision;
pub use decision::{PolicyOutcome, RuleResult};
pub use email::EmailAddress;
pub(crate) use explain::ExplainedRule;
pub use parse::parse;
pub(crate) use parse::{PolicyError, parse_allowed_idp_claims};
pub(crate) use reason::{Reason, Reasons};
pub use request::{ClientCertificateStatus, Identity, LeafCertificate, PolicyInput, SanKind};
pub(crate) use rule::Rule;
pub(crate) use spec::AllowedClaim;
pub use spec::PolicySpec;

use claim::ClaimPath;
use criterion::Criterion;
use rule::Group;
use trace::{NoTrace, PolicyTrace};

/// A compiled policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The operators of all allow rules; the rule that contains an operator does not matter.
    allow: Vec<Group>,
    /// The operators of all deny rules.
    deny: Vec<Group>,
    needs: Needs,
}

/// The inputs that a policy needs and that not every request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// The client certificate, or its absence.
    pub client_certificate: bool,
    /// The identity of the user.
    pub identity: bool,
}

impl Policy {
    /// Decides about a request. Allocates nothing.
    pub fn evaluate(&self, request: &PolicyInput<'_>) -> PolicyDecision {
        self.evaluate_with(request, &mut NoTrace)
    }

    /// Decides, and shows the trace each result on the way.
    fn evaluate_with(
        &self,
        request: &PolicyInput<'_>,
        trace: &mut impl PolicyTrace,
    ) -> PolicyDecision {
        let mut any = |groups: &[Group]| {
            RuleResult::any(groups.iter().map(|group| group.evaluate(request, trace)))
        };
        let (allow, deny) = (any(&self.allow), any(&self.deny));
        PolicyDecision::new(allow, deny)
    }

    /// The inputs that the policy needs.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// The names of the claims that it reads, as they stand at the top of a token. A path is tried as
    /// a name first, so `claim/address/country` reads `address/country` and `address`. A name may
    /// come several times.
    pub(crate) fn claims_used(&self) -> impl Iterator<Item = &str> {
        let criteria = self.allow.iter().chain(&self.deny).flat_map(|group| &group.criteria);
        criteria.filter_map(Criterion::claim).flat_map(ClaimPath::top_level_names)
    }
}

#[cfg(test)]
mod tests;
