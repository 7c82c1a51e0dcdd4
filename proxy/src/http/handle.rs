//! One request, in phases: normalise, decide, answer or forward, relay, record.

use std::rc::Rc;

use http::{Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;

use super::{
    access::admit,
    active_request::ActiveRequest,
    body::Body,
    certificate::RequestCertificate,
    connection::ClientConnection,
    error::RequestFailure,
    forward::{ForwardedResponse, Forwarding},
    headers::{finish, forwarded},
    local_service::LocalService,
    redirect,
    refusal::Refusal,
    request::{NormalizeError, RequestTarget, normalise},
    request_config::{CompiledRoute, RequestConfig},
    respond::{self, LocalReply},
    serve_local::{LocalRequest, serve_local},
    spec::{ActionSpec, ProxySpec, RedirectSpec},
    tunnel::{Tunnel, TunnelRecord},
};
use crate::upstream::{ResponseBody, Upgraded};

/// What comes of a request.
#[derive(Debug)]
pub struct Handled {
    /// The response to send.
    pub response: Response<Body>,
    /// The tunnel that its client's stream becomes once the response, a 101, has been sent. Boxed:
    /// few requests make one.
    pub tunnel: Option<Box<Tunnel>>,
}

/// Handles one request of a connection.
///
/// It leaves exactly one record, which is made when the response's body or the tunnel has ended, or
/// when the future or one of those is dropped because the client went away.
pub async fn handle(conn: &Rc<ClientConnection>, request: Request<Incoming>) -> Handled {
    let (parts, body) = request.into_parts();
    let mut active = ActiveRequest::begin(conn, &parts);
    let mut handled = match serve(&mut active, parts, body).await {
        Ok(Served::Local(reply)) => answer(active, reply),
        Ok(Served::Forwarded(ForwardedResponse { response, upgraded: None })) => {
            relay(active, response)
        }
        Ok(Served::Forwarded(ForwardedResponse { response, upgraded: Some(upstream) })) => {
            switch(active, response, upstream)
        }
        Err(failure) => {
            let id = &active.account.request_id;
            let reply = respond::failure(&failure, &active.negotiation, id);
            answer(active, reply)
        }
    };
    conn.state.announce_close(&mut handled.response);
    handled
}

/// Where the response comes from.
enum Served {
    Local(LocalReply),
    Forwarded(ForwardedResponse),
}

async fn serve(
    active: &mut ActiveRequest,
    mut parts: Parts,
    body: Incoming,
) -> Result<Served, RequestFailure> {
    let (conn, config) = (active.account.conn.clone(), active.config.clone());
    let (target, is_normal) = match normalise(&mut parts, &config.settings) {
        Ok(target) => (target, true),
        Err(NormalizeError::Redirect(target)) => (*target, false),
        Err(NormalizeError::Invalid(error)) => return Err(RequestFailure::Rejected(error)),
    };
    active.set_target(&target);
    let request = Undecided { conn: &conn, config: &config, target: &target, is_normal };
    match request.decide(active, &parts)? {
        Decided::Reply(reply) => Ok(Served::Local(reply)),
        Decided::Service(service) => {
            let request = LocalRequest { parts: &parts, target: &target, body };
            serve_local(service, active, request).await.map(Served::Local)
        }
        Decided::Forward { route, proxy, certificate } => {
            let (conn, config, target) = (&*conn, &config, &target);
            let forwarding = Forwarding { conn, config, route, proxy, certificate, target };
            forwarding.send(active, parts, body).await.map(Served::Forwarded)
        }
    }
}

/// What happens to a request.
enum Decided<'a> {
    Reply(LocalReply),
    Service(LocalService),
    Forward {
        route: &'a CompiledRoute,
        proxy: &'a ProxySpec,
        certificate: Option<RequestCertificate<'a>>,
    },
}

/// A request to decide about.
#[derive(Clone, Copy)]
struct Undecided<'a> {
    conn: &'a ClientConnection,
    config: &'a RequestConfig,
    target: &'a RequestTarget,
    /// The client wrote the target in its normal form.
    is_normal: bool,
}

impl<'a> Undecided<'a> {
    /// Decides: first the services of ours, then the route and its policy. A request whose target was
    /// not in normal form is sent to that, unless its connection serves nothing but a redirect.
    fn decide(
        self,
        active: &mut ActiveRequest,
        parts: &Parts,
    ) -> Result<Decided<'a>, RequestFailure> {
        if let Some(service) = self.conn.service {
            return Ok(Decided::Service(service));
        }
        if !self.is_normal {
            let location = redirect::to_itself(self.target, self.is_secure(parts));
            let status = StatusCode::TEMPORARY_REDIRECT;
            return redirected(active, status, location).map(Decided::Reply);
        }
        if let Some(service) = LocalService::of_path(self.target.path()) {
            return Ok(Decided::Service(service));
        }
        let route = self.config.find(self.target).ok_or(RequestFailure::NoRoute)?;
        active.set_route(route);
        match admit(active, &self.conn.peer, route, parts, self.target) {
            Ok(certificate) => self.act(active, parts, route, certificate),
            Err(Refusal::Reply(reply)) => Ok(Decided::Reply(reply)),
            Err(Refusal::Failure(failure)) => Err(failure),
        }
    }

    /// The action of the route, for a request that may use it.
    fn act(
        self,
        active: &ActiveRequest,
        parts: &Parts,
        route: &'a CompiledRoute,
        certificate: Option<RequestCertificate<'a>>,
    ) -> Result<Decided<'a>, RequestFailure> {
        Ok(match &route.spec.action {
            ActionSpec::Proxy(proxy) => Decided::Forward { route, proxy, certificate },
            ActionSpec::Respond { status, body } => {
                Decided::Reply(respond::direct(*status, body, &active.negotiation))
            }
            ActionSpec::Redirect(spec) => {
                Decided::Reply(self.redirect(active, parts, route, spec)?)
            }
        })
    }

    fn redirect(
        self,
        active: &ActiveRequest,
        parts: &Parts,
        route: &CompiledRoute,
        spec: &RedirectSpec,
    ) -> Result<LocalReply, RequestFailure> {
        let location = redirect::location(spec, self.target, &route.path, self.is_secure(parts));
        redirected(active, spec.status, location)
    }

    fn is_secure(self, parts: &Parts) -> bool {
        let hops = self.config.settings.forwarded_for.trusted_hops;
        forwarded::is_secure(&parts.headers, self.conn.peer.is_secure(), hops)
    }
}

fn redirected(
    active: &ActiveRequest,
    status: StatusCode,
    location: Option<http::HeaderValue>,
) -> Result<LocalReply, RequestFailure> {
    let location = location.ok_or(RequestFailure::Misconfigured("bad_location"))?;
    Ok(respond::redirect(status, location, &active.negotiation))
}

fn relay(active: Box<ActiveRequest>, response: Response<ResponseBody>) -> Handled {
    let response = response.map(|body| Body::relay(body, active));
    Handled { response, tunnel: None }
}

fn switch(
    active: Box<ActiveRequest>,
    response: Response<ResponseBody>,
    upstream: Upgraded,
) -> Handled {
    let (deadline, idle_timeout) = active.timeouts.of_tunnel();
    let record = TunnelRecord::new(active.account);
    let tunnel = Tunnel { upstream, idle_timeout, deadline, record };
    Handled { response: response.map(|_| Body::none()), tunnel: Some(Box::new(tunnel)) }
}

fn answer(mut active: Box<ActiveRequest>, reply: LocalReply) -> Handled {
    let LocalReply { mut response, details, flags } = reply;
    finish(response.headers_mut(), active.response_headers(), &active.account.request_id);
    active.account.set_status(response.status());
    active.account.conclude(details, flags);
    Handled { response: response.map(|body| Body::full(body, active)), tunnel: None }
}

#[cfg(test)]
mod tests;
