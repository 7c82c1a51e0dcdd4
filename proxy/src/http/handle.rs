//! One request, in phases: normalise, decide, answer or forward, relay, record.

use std::{future::poll_fn, mem, pin::pin, rc::Rc};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header, request::Parts};
use hyper::body::Incoming;

use super::{
    access::admit,
    active_request::ActiveRequest,
    body::Body,
    connection::ClientConnection,
    debug_log,
    error::RequestFailure,
    error_context::ErrorContext,
    forward::{ForwardedResponse, Forwarding},
    headers::{finish_own, forwarded, has_no_content},
    interim::InterimRelay,
    local_service::LocalService,
    max_forwards, redirect,
    request::{NormalizeError, RequestTarget, normalise},
    request_config::LocalRequestConfig,
    respond::{self, LocalAnswer, LocalReply},
    serve_local::{LocalRequest, serve_local},
    spec::ActionSpec,
    tunnel::{Tunnel, TunnelRecord},
    unread_body::UnreadBody,
};
use crate::{
    http2_frames::ClientWindows,
    upstream::{ResponseBody, Upgraded},
};

/// The result of handling a request.
#[derive(Debug)]
pub(crate) struct Handled {
    /// The response to send.
    pub response: Response<Body>,
    /// The tunnel that its client's stream becomes once the response, a 101, has been sent. Boxed:
    /// few requests make one.
    pub tunnel: Option<Box<Tunnel>>,
}

/// A request's stream in HTTP/2; the default in HTTP/1.
#[derive(Debug, Default)]
pub(crate) struct ClientStream {
    /// Its ID, where that is known.
    pub id: Option<u32>,
    /// What the client lets us send.
    pub windows: Option<Rc<ClientWindows>>,
}

/// Handles one request of a connection.
///
/// It leaves exactly one record, which is made when the response's body or the tunnel has ended, or
/// when the future or one of those is dropped because the client went away.
pub(crate) async fn handle(
    conn: &Rc<ClientConnection>,
    request: Request<Incoming>,
    stream: ClientStream,
) -> Handled {
    let (mut parts, body) = request.into_parts();
    let mut active = ActiveRequest::begin(conn, &parts);
    (active.stream, active.windows) = (stream.id, stream.windows);
    active.body = UnreadBody::new(&parts, body);
    let mut handled = match serve(&mut active, &mut parts).await {
        Ok(ForwardedResponse { response, upgraded: None }) => relay(active, response),
        Ok(ForwardedResponse { response, upgraded: Some(upstream) }) => {
            switch(active, response, upstream)
        }
        Err(local) => {
            let reply = local.into_reply(&active.negotiation, &ErrorContext::of(&active));
            answer(active, reply)
        }
    };
    conn.state.announce_close(&mut handled.response);
    handled
}

/// The upstream's response, or an answer of ours.
async fn serve(
    active: &mut ActiveRequest,
    parts: &mut Parts,
) -> Result<ForwardedResponse, LocalAnswer> {
    let (conn, config) = (active.account.conn.clone(), active.config.clone());
    let (target, is_normal) = match normalise(parts, &config.settings) {
        Ok(target) => (target, true),
        Err(NormalizeError::Redirect(target)) => (*target, false),
        Err(NormalizeError::Invalid(error)) => return Err(RequestFailure::Rejected(error).into()),
    };
    active.set_target(&target);
    let request = Undecided { conn: &conn, config: &config, target: &target, is_normal };
    let decided = request.decide(active, parts).await?;
    let interim = InterimRelay::begin(active, parts)?;
    let forwarding = match decided {
        Decided::Forward(forwarding) => forwarding,
        Decided::Service(service) => {
            let request = LocalRequest { parts, target: &target };
            let reply = serve_local(service, active, request).await?;
            return Err(reply.into());
        }
    };
    let mut sending = pin!(forwarding.send(active, take(parts), interim.source())?);
    let mut kept = None;
    let relaying = poll_fn(|cx| interim.poll(sending.as_mut(), &mut kept, cx));
    let reply = active.timeouts.within(pin!(relaying)).await;
    let reply = forwarding.keep_if_failed(active, reply);
    if active.failed.is_some() {
        // Moved, so that the request's future has no room for it. Few requests are sent again.
        drop(reply);
        let reply = Box::pin(forwarding.send_again(active, &interim)).await;
        return Ok(forwarding.receive(active, reply)?);
    }
    Ok(forwarding.receive(active, reply)?)
}

/// A future that owned the head would have room for it twice.
fn take(parts: &mut Parts) -> Parts {
    mem::replace(parts, Request::new(()).into_parts().0)
}

/// What happens to a request that is not answered at once. Owns nothing, so that the request's future
/// has no room for it while it waits.
#[derive(Clone, Copy)]
enum Decided<'a> {
    Service(LocalService),
    Forward(Forwarding<'a>),
}

/// A request to decide about.
#[derive(Clone, Copy)]
struct Undecided<'a> {
    conn: &'a ClientConnection,
    config: &'a Rc<LocalRequestConfig>,
    target: &'a RequestTarget,
    /// The client wrote the target in its normal form.
    is_normal: bool,
}

impl<'a> Undecided<'a> {
    /// Decides: first the services of ours, then the route and its policy. A request whose target was
    /// not in normal form is sent to that, unless its connection serves nothing but a redirect.
    async fn decide(
        self,
        active: &mut ActiveRequest,
        parts: &Parts,
    ) -> Result<Decided<'a>, LocalAnswer> {
        if let Some(service) = self.conn.service {
            return Ok(Decided::Service(service));
        }
        if !self.is_normal {
            let location = redirect::to_itself(self.target, self.is_secure(parts));
            let status = StatusCode::TEMPORARY_REDIRECT;
            return Err(redirected(active, status, location));
        }
        if let Some(service) = self.config.service(self.target) {
            return Ok(Decided::Service(service));
        }
        let route = self.config.find(self.target);
        debug_log::routed(active, route, self.target);
        let Some(route) = route else {
            return self.unrouted();
        };
        active.set_route(route);
        let certificate = admit(active, &self.conn.peer, route, parts, self.target).await?;
        match &route.spec.action {
            ActionSpec::Proxy(proxy) => {
                if max_forwards::is_last(parts).map_err(RequestFailure::Rejected)? {
                    return Err(respond::last_recipient(&parts.method, &active.negotiation).into());
                }
                let Undecided { conn, config, target, .. } = self;
                let forwarding = Forwarding { conn, config, route, proxy, certificate, target };
                Ok(Decided::Forward(forwarding))
            }
            ActionSpec::Respond { status, body } => {
                Err(respond::direct(*status, body, &active.negotiation).into())
            }
            ActionSpec::Redirect(spec) => {
                let secure = self.is_secure(parts);
                let location = redirect::location(spec, self.target, &route.path, secure);
                Err(redirected(active, spec.status, location))
            }
        }
    }

    fn unrouted(self) -> Result<Decided<'a>, LocalAnswer> {
        let service = self.config.service_without_route(self.target);
        service.map(Decided::Service).ok_or(RequestFailure::NoRoute.into())
    }

    fn is_secure(self, parts: &Parts) -> bool {
        let hops = self.config.settings.forwarded_for.trusted_hops;
        forwarded::is_secure(&parts.headers, self.conn.peer.is_secure(), hops)
    }
}

fn redirected(
    active: &ActiveRequest,
    status: StatusCode,
    location: Option<HeaderValue>,
) -> LocalAnswer {
    match location {
        Some(location) => respond::redirect(status, location, &active.negotiation).into(),
        None => RequestFailure::Misconfigured("bad_location").into(),
    }
}

/// Content that a response must not have is not passed on: hyper's HTTP/2 server would send it.
fn relay(active: Box<ActiveRequest>, response: Response<ResponseBody>) -> Handled {
    let is_empty = has_no_content(response.status());
    let response = response.map(|body| match is_empty {
        true => Body::full(Bytes::new(), active),
        false => Body::relay(body, active),
    });
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
    let LocalReply { mut response, details, flags, blame, refusal } = reply;
    if let Some(blame) = blame {
        active.account.count_failure(blame);
    }
    if let Some(refusal) = refusal {
        active.account.count_refusal(refusal);
    }
    active.renew_cookies(response.headers_mut());
    for field in mem::take(&mut active.junk_cookies) {
        response.headers_mut().append(header::SET_COOKIE, field);
    }
    finish_own(response.headers_mut(), active.response_headers(), &active.account.request_id);
    if active.give_up_body() {
        respond::announce_close(response.headers_mut());
    }
    active.account.set_status(response.status());
    active.account.conclude(details, flags);
    Handled { response: response.map(|body| Body::full(body, active)), tunnel: None }
}

#[cfg(test)]
mod tests;
