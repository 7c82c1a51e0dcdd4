//! An explanation, as people and programs get it.

use std::net::IpAddr;

use serde::Serialize;

use crate::{
    http::request::RequestTarget,
    policy::{ExplainedRule, Identity},
};

/// What happens to a request, and why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct RequestExplanation {
    /// The address that counts as the client's.
    pub client: IpAddr,
    /// In the form in which hosts are compared; `None` if the request is invalid.
    pub host: Option<String>,
    /// The normalised path.
    pub path: Option<String>,
    /// The routes of the host in their order, up to the one that matches.
    pub routes: Vec<ExplainedRoute>,
    /// The client's certificate as the route sees it; `None` without a route.
    pub certificate: Option<ExplainedCertificate>,
    /// Who the request is from: the email address, else the ID.
    pub user: Option<String>,
    /// The rules of the route's policy: those that allow, then those that deny.
    pub policy: Vec<ExplainedRule>,
    /// Why the given user does not count; `None` if that user does, or there is none.
    pub user_ignored: Option<&'static str>,
    /// What comes of it.
    #[serde(skip)]
    pub verdict: ExplainedVerdict,
}

/// A route of the request's host.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedRoute {
    /// `routes[3]`
    pub place: String,
    /// Its name in the log.
    pub name: String,
    /// What it matches: `https://a.example/api*`.
    pub from: String,
    /// Whether it serves the request.
    pub matches: bool,
    /// The reason, if it does not.
    pub why_not: Option<&'static str>,
}

/// The client's certificate as a route sees it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedCertificate {
    /// `valid`, `invalid`, `missing`, or why it does not matter.
    pub state: &'static str,
    /// The reason, if it is not valid.
    pub why: Option<String>,
    /// Where the CAs come from that verify it.
    pub verified_by: Option<String>,
}

/// What comes of a request.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ExplainedVerdict {
    /// Whether it is served; if not, it is refused.
    pub served: bool,
    /// Of the answer; `None` if the upstream chooses it, or a page of ours.
    pub status: Option<u16>,
    /// In words.
    pub summary: String,
    /// The `response-code-details` that the log would have; `None` if the upstream decides.
    pub details: Option<String>,
    /// The rule that refuses it.
    pub policy_rule: Option<String>,
    /// Where a redirect leads.
    pub location: Option<String>,
    /// Where it is forwarded to.
    pub upstream: Option<ExplainedUpstream>,
}

/// Where a request is forwarded to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedUpstream {
    /// The path with its query, rewritten.
    pub path: String,
    /// The endpoints, of which one gets it.
    pub endpoints: Vec<ExplainedEndpoint>,
}

/// One of them.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplainedEndpoint {
    /// The address, or the name before it is resolved, with its port.
    pub address: String,
    /// The `Host` that it gets.
    pub host: String,
    /// The server name of TLS; `None` in plain text.
    pub tls_server_name: Option<String>,
}

impl RequestExplanation {
    /// Of a request of which nothing is known but its client.
    pub(super) fn of(client: IpAddr) -> RequestExplanation {
        RequestExplanation {
            client,
            host: None,
            path: None,
            routes: Vec::new(),
            certificate: None,
            user: None,
            user_ignored: None,
            policy: Vec::new(),
            verdict: ExplainedVerdict::default(),
        }
    }

    pub(super) fn set_target(&mut self, target: &RequestTarget) {
        self.host = Some(target.host.to_string());
        self.path = Some(target.path().to_owned());
    }

    pub(super) fn set_user(&mut self, identity: Option<&Identity>) {
        let name = |identity: &Identity| match identity.email.is_empty() {
            true => identity.user_id.to_string(),
            false => identity.email.to_string(),
        };
        self.user = identity.map(name);
    }
}
