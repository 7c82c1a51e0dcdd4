//! What a refusal comes to.

use http::request::Parts;

use super::view::ExplainedVerdict;
use crate::{
    http::{error::RequestFailure, refusal::PolicyRefusal},
    identity::flow::{Challenge, challenge},
};

/// A refusal by a policy.
pub(super) fn refused(refusal: &PolicyRefusal, parts: &Parts) -> ExplainedVerdict {
    match refusal {
        PolicyRefusal::Robots => ExplainedVerdict {
            served: true,
            status: Some(200),
            summary: "a robots.txt that keeps robots out, since the policy does not let this \
                request in"
                .to_owned(),
            details: Some("direct_response".to_owned()),
            ..ExplainedVerdict::default()
        },
        PolicyRefusal::Denied => refused_by(&RequestFailure::Denied),
        PolicyRefusal::SignIn => sign_in(parts),
        PolicyRefusal::Failure(failure) => refused_by(failure),
    }
}

/// A failure.
pub(super) fn refused_by(failure: &RequestFailure) -> ExplainedVerdict {
    let report = failure.report();
    ExplainedVerdict {
        status: Some(report.status.as_u16()),
        summary: report.message.to_string(),
        details: Some(report.details.into_owned()),
        ..ExplainedVerdict::default()
    }
}

fn sign_in(parts: &Parts) -> ExplainedVerdict {
    let (status, summary) = match challenge(&parts.method, &parts.headers) {
        Challenge::Redirect => (302, "a redirect to sign in"),
        Challenge::PageNewTab | Challenge::PageLink => (401, "a page with a link to sign in"),
        Challenge::Unauthenticated => {
            (401, "sign-in is required (a browser that navigates is redirected to it)")
        }
        Challenge::Grpc => (200, "gRPC status 16: sign-in is required"),
    };
    ExplainedVerdict {
        status: Some(status),
        summary: summary.to_owned(),
        ..ExplainedVerdict::default()
    }
}
