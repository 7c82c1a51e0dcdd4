//! One request: context, decide, connect, commit, relay, record.

use std::{convert::Infallible, net::IpAddr, pin::pin, rc::Rc};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    access::{Presented, admit},
    body::Body,
    client_body::{ClientBody, Upload},
    error::Failure,
    exchange::Exchange,
    facts::{Facts, PendingUpgrade, UpgradeRecord},
    forward::{self, Forward},
    headers::{Upgrade, finish, forwarded, requested_upgrade},
    redirect,
    request::{Fault, Normalised, Rejection, normalise},
    respond::{self, Reply},
    site::{Context, LocalSite, Site, SiteRoute},
    spec::{ActionSpec, ProxySpec},
    timeouts::Limit,
};
use crate::upstream::{RequestBody, ResponseBody, SendOptions, Upgraded};

/// What is to be sent to the client.
enum Served {
    /// An answer of ours.
    Ours(Reply),
    /// The upstream's response.
    Theirs(Response<ResponseBody>),
    /// The upstream's 101, and its connection.
    Switched(Response<ResponseBody>, Upgraded),
}

/// Serves one request of a connection.
///
/// Every way out leaves one record, made when the response's body (or, after a 101, the upgraded
/// stream) has ended, or when the returned future or body is dropped because the client went away.
/// A 101 leaves the upstream's side in `conn.upgrade`.
pub async fn handle(
    worker: &Rc<Context>,
    conn: &Rc<Facts>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let mut exchange = Exchange::begin(worker, conn, &parts);
    let served = serve(&mut exchange, parts, body).await;
    let mut response = match served {
        Ok(Served::Theirs(response)) => relay(exchange, response),
        Ok(Served::Switched(response, upstream)) => switch(exchange, response, upstream),
        Ok(Served::Ours(reply)) => answer(exchange, reply),
        Err(failure) => {
            let reply = respond::failure(&failure, &exchange.asked, &exchange.request_id);
            answer(exchange, reply)
        }
    };
    conn.say_if_last(&mut response);
    Ok(response)
}

/// Sends every request of the plain-HTTP listener to HTTPS.
pub fn redirect_to_https(
    worker: &Rc<Context>,
    conn: &Rc<Facts>,
    request: Request<Incoming>,
) -> Response<Body> {
    let (mut parts, _) = request.into_parts();
    let exchange = Exchange::begin(worker, conn, &parts);
    let location = match normalise(&mut parts, &exchange.site.settings) {
        Ok(normal) => redirect::to_https(&normal).ok_or(Failure::Misconfigured("bad_location")),
        Err(Rejection::Elsewhere(normal)) => {
            redirect::to_https(&normal).ok_or(Failure::Misconfigured("bad_location"))
        }
        Err(Rejection::Fault(fault)) => Err(Failure::Rejected(fault)),
    };
    let reply = match location {
        Ok(location) => respond::redirect_and_close(location, &exchange.asked),
        Err(failure) => respond::failure(&failure, &exchange.asked, &exchange.request_id),
    };
    answer(exchange, reply)
}

async fn serve(
    exchange: &mut Exchange,
    mut parts: Parts,
    body: Incoming,
) -> Result<Served, Failure> {
    // Context: what is asked for, in one form, by whom.
    let (conn, site) = (exchange.conn.clone(), exchange.site.clone());
    let hops = site.settings.forwarded_for.trusted_hops;
    let secure = forwarded::is_secure(&parts.headers, conn.is_secure(), hops);
    let normal = match normalise(&mut parts, &site.settings) {
        Ok(normal) => normal,
        Err(Rejection::Fault(fault)) => return Err(Failure::Rejected(fault)),
        Err(Rejection::Elsewhere(normal)) => return elsewhere(exchange, &normal, secure),
    };
    exchange.normalised(&normal);

    // Decide.
    let facts = (&*conn, &**site);
    let (route, proxy, certificate) = match decide(exchange, facts, &parts, &normal, secure)? {
        Decision::Answer(reply) => return Ok(Served::Ours(reply)),
        Decision::Forward(route, proxy, certificate) => (route, proxy, certificate),
    };
    let upgrade = upgrade(&parts, route, &body)?;

    // Connect.
    let cluster = route.cluster.as_ref().ok_or(Failure::Misconfigured("route_without_cluster"))?;
    let chosen = exchange.worker.upstreams.pick(cluster, client_hash(exchange.client));
    let endpoint = cluster.endpoint(chosen);
    let head = {
        // In a block of its own, or it would weigh on the request for as long as that lasts.
        let forward = Forward {
            site: &site,
            route,
            proxy,
            upstream: endpoint.host(),
            conn: &conn,
            certificate,
            normal: &normal,
            request_id: &exchange.request_id,
            client: exchange.client,
        };
        forward.head(parts, &upgrade)?
    };
    let (body, upload) = request_body(body, &site, route);
    exchange.forwarded(chosen, upload);
    let options = SendOptions { upgrade: matches!(upgrade, Upgrade::Allowed(_)) };
    let worker = exchange.worker.clone();
    let sending =
        worker.upstreams.send(cluster, endpoint, Request::from_parts(head, body), options);
    let reply = match exchange.timeouts.within(pin!(sending)).await {
        Ok(reply) => reply.map_err(Failure::Upstream)?,
        Err(limit) => {
            let failure = too_late(limit);
            if matches!(failure, Failure::ResponseTimeout) {
                worker.upstreams.unanswered(endpoint);
            }
            return Err(failure);
        }
    };

    // Commit: from here on the client sees the upstream's response.
    let switching = reply.response.status() == StatusCode::SWITCHING_PROTOCOLS;
    match (switching, reply.upgraded) {
        (false, _) => Ok(Served::Theirs(forward::response(exchange, route, reply.response, false))),
        (true, Some(upstream)) if options.upgrade => {
            let response = forward::response(exchange, route, reply.response, true);
            Ok(Served::Switched(response, upstream))
        }
        (true, _) => Err(Failure::UnexpectedUpgrade),
    }
}

/// What is to be done with a request.
enum Decision<'a> {
    Answer(Reply),
    Forward(&'a SiteRoute, &'a ProxySpec, Option<Presented<'a>>),
}

fn decide<'a>(
    exchange: &mut Exchange,
    (conn, site): (&'a Facts, &'a Site),
    parts: &Parts,
    normal: &Normalised,
    secure: bool,
) -> Result<Decision<'a>, Failure> {
    if let Some(reply) = respond::builtin(&parts.method, normal.path(), &exchange.asked) {
        exchange.unrecorded();
        return Ok(Decision::Answer(reply));
    }
    if respond::is_reserved(normal.path()) {
        return Err(Failure::NoRoute);
    }
    let (index, route) = site.find(normal).ok_or(Failure::NoRoute)?;
    exchange.routed(index, route);
    let certificate = match admit(exchange, (conn, site), route, parts, normal) {
        Err(failure) if failure.is_denial() && normal.path() == "/robots.txt" => {
            return Ok(Decision::Answer(respond::robots(&exchange.asked)));
        }
        admitted => admitted?,
    };
    Ok(match &route.spec.action {
        ActionSpec::Proxy(proxy) => Decision::Forward(route, proxy, certificate),
        ActionSpec::Respond { status, body } => {
            Decision::Answer(respond::direct(*status, body, &exchange.asked))
        }
        ActionSpec::Redirect(spec) => {
            let location = redirect::location(spec, normal, &route.path, secure)
                .ok_or(Failure::Misconfigured("bad_location"))?;
            Decision::Answer(respond::redirect(spec.status, location, &exchange.asked))
        }
    })
}

/// Sends the client to the normalised form of its request.
fn elsewhere(
    exchange: &mut Exchange,
    normal: &Normalised,
    secure: bool,
) -> Result<Served, Failure> {
    exchange.normalised(normal);
    let location =
        redirect::to_itself(normal, secure).ok_or(Failure::Misconfigured("bad_location"))?;
    let status = StatusCode::TEMPORARY_REDIRECT;
    Ok(Served::Ours(respond::redirect(status, location, &exchange.asked)))
}

fn upgrade(parts: &Parts, route: &SiteRoute, body: &Incoming) -> Result<Upgrade, Failure> {
    let upgrade = requested_upgrade(parts, &route.spec.upgrades);
    match upgrade {
        Upgrade::Refused => Err(Failure::UpgradeRefused),
        Upgrade::Allowed(_) if !body.is_end_stream() => {
            Err(Failure::Rejected(Fault::UpgradeWithBody))
        }
        upgrade => Ok(upgrade),
    }
}

fn request_body(
    body: Incoming,
    site: &Rc<LocalSite>,
    route: &SiteRoute,
) -> (RequestBody, Option<Rc<Upload>>) {
    if body.is_end_stream() {
        return (RequestBody::Empty, None);
    }
    let (body, upload) = ClientBody::new(body, site.clone(), route);
    (RequestBody::Client(Box::pin(body)), Some(upload))
}

fn too_late(limit: Limit) -> Failure {
    match limit {
        Limit::Request => Failure::RequestTimeout,
        Limit::Response | Limit::Idle => Failure::ResponseTimeout,
        Limit::Stream => Failure::StreamTimeout,
    }
}

/// FNV-1a of the client's address: the same on every worker and after every start, so that a
/// client keeps its upstream.
fn client_hash(client: IpAddr) -> u64 {
    let hash = |octets: &[u8]| {
        octets.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    match client {
        IpAddr::V4(v4) => hash(&v4.octets()),
        IpAddr::V6(v6) => hash(&v6.octets()),
    }
}

fn relay(exchange: Box<Exchange>, response: Response<ResponseBody>) -> Response<Body> {
    let (head, body) = response.into_parts();
    Response::from_parts(head, Body::relay(body, exchange))
}

fn switch(
    exchange: Box<Exchange>,
    response: Response<ResponseBody>,
    upstream: Upgraded,
) -> Response<Body> {
    let (deadline, idle_timeout) = exchange.timeouts.of_upgrade();
    let conn = exchange.conn.clone();
    let record = UpgradeRecord(exchange);
    let pending = PendingUpgrade { upstream, idle_timeout, deadline, record };
    conn.upgrade.replace(Some(Box::new(pending)));
    response.map(|_| Body::none())
}

fn answer(mut exchange: Box<Exchange>, reply: Reply) -> Response<Body> {
    let mut response: Response<Bytes> = reply.response;
    finish(response.headers_mut(), exchange.response_headers(), &exchange.request_id);
    exchange.answered(response.status());
    exchange.conclude(reply.details, reply.flags);
    response.map(|body| Body::full(body, exchange))
}

#[cfg(test)]
mod tests;
