//! The access log's view of a request.

use std::time::Duration;

use http::{HeaderValue, uri::PathAndQuery};

use super::{AccountedRoute, RequestAccount, protocol};
use crate::{
    observe::{PolicyRecord, RequestRecord, is_about_sign_in},
    policy::{PolicyDecision, Reason, Reasons},
    upstream::ChosenEndpoint,
};

impl RequestAccount {
    /// Logs the request. `received` is the size of its body in bytes.
    pub(super) fn log(&self, received: u64, duration: Duration) {
        let text = |value: &Option<HeaderValue>| {
            value.as_ref().and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        let upstream_address = self.upstream_address();
        let decision = self.decision.filter(is_notable);
        let [allow_why, deny_why] = [decision.map(|it| it.allow), decision.map(|it| it.deny)]
            .map(|result| result.map_or_else(Vec::new, |result| names(result.reasons)));
        let session_id = self.session().map(|known| known.session.id.to_string());
        self.conn.handler.observer.log_request(&RequestRecord {
            client: self.client,
            appended_for: self.appends_peer().then(|| self.conn.peer.address.ip()),
            server_name: self.conn.peer.server_name(),
            method: self.method.as_str(),
            authority: &text(&self.authority),
            path: self.target.as_ref().map_or("", PathAndQuery::path),
            query: self.query(),
            headers: &self.captured,
            request_id: self.request_id.to_str().unwrap_or_default(),
            status: self.status,
            response_code_details: &self.details,
            response_flags: self.flags,
            route: self.route_name(),
            upstream_cluster: if self.upstream.is_some() { self.route_name() } else { "" },
            upstream_address: &upstream_address,
            upstream_attempts: self.attempts,
            bytes_received: received,
            bytes_sent: self.sent,
            duration,
            protocol: protocol(self.version),
            tls_version: self.conn.peer.tls_version(),
            client_certificate: self.conn.peer.certificate().and_then(|it| it.summary()),
            user: self.user_record(session_id.as_deref()),
            policy: decision.map(|decision| PolicyRecord {
                served: decision.is_allowed(),
                allow: decision.allow.value,
                allow_why: &allow_why,
                deny: decision.deny.value,
                deny_why: &deny_why,
                refusing_rule: self.refusing_rule.as_deref(),
            }),
        });
    }

    /// Logs at `debug` which upstream gets the request.
    #[cold]
    pub(super) fn log_endpoint(&self, endpoint: &ChosenEndpoint) {
        tracing::debug!(
            "request-id" = self.request_id.to_str().unwrap_or_default(),
            endpoint = %**endpoint,
            tls = endpoint.spec.tls.is_some(),
            "tls-server-name" = endpoint.spec.tls.as_ref().map(|tls| &*tls.sni),
            attempt = self.attempts.saturating_add(1),
            "upstream chosen"
        );
    }

    /// Whether upstreams are told the peer's address in `X-Forwarded-For`.
    fn appends_peer(&self) -> bool {
        match &self.route {
            AccountedRoute::Of(config, _) => !config.settings.forwarded_for.skip_append,
            AccountedRoute::Released(..) => true,
        }
    }

    /// The query, unless it may hold a parameter of a sign-in: those are secrets.
    fn query(&self) -> Option<&str> {
        let target = self.target.as_ref()?;
        let query = target.query()?;
        // A program's address may be a route of ours, and its token is in the query there.
        match is_about_sign_in(target.path()) || query.contains("pomerium_jwt") {
            true => Some("[redacted]"),
            false => Some(query),
        }
    }
}

/// Whether the log is to show a decision. It need not say with each request that everybody, or
/// everybody with a valid certificate, may use a route.
fn is_notable(decision: &PolicyDecision) -> bool {
    let usual = Reasons::from(Reason::Accept).union(Reason::ValidClientCertificate.into());
    let reasons = decision.allow.reasons.union(decision.deny.reasons);
    !decision.is_allowed() || reasons.union(usual) != usual
}

fn names(reasons: Reasons) -> Vec<&'static str> {
    reasons.iter().map(Reason::name).collect()
}
