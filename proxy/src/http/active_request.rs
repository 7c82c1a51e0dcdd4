//! A request under way.

use std::{net::IpAddr, rc::Rc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue, Version, header, request::Parts};

use super::{
    account::RequestAccount,
    connection::ClientConnection,
    headers::forwarded::client_ip,
    negotiation::ContentNegotiation,
    reply::Reply,
    request::RequestTarget,
    request_config::{CompiledRoute, LocalRequestConfig},
    request_handler::RequestHandler,
    request_id::{REQUEST_ID, is_acceptable},
    reused_timer::ReusedTimer,
    timeouts::Timeouts,
    unread_body::UnreadBody,
};
use crate::{http2_frames::ClientWindows, identity::memory::KeptAssertion};

/// A request under way, from its head to the end of its response (Envoy: an active stream).
#[derive(Debug)]
pub(super) struct ActiveRequest {
    pub(super) account: RequestAccount,
    /// The configuration that was current when the request came.
    pub(super) config: Rc<LocalRequestConfig>,
    pub(super) negotiation: ContentNegotiation,
    pub(super) timeouts: Timeouts,
    /// Its stream in HTTP/2, where that is known.
    pub(super) stream: Option<u32>,
    /// What its client lets us send; `None` in HTTP/1.
    pub(super) windows: Option<Rc<ClientWindows>>,
    /// The body, until something reads it; `None` also for an empty one.
    pub(super) body: Option<UnreadBody>,
    /// The client's head, if it may be needed again for another upstream. Boxed: few requests have it.
    pub(super) kept_head: Option<Box<Parts>>,
    /// The reply that makes it go to another upstream. Boxed, as the head.
    pub(super) failed: Option<Box<Reply>>,
    /// What its upstream is told of who it is from.
    pub(super) assertion: Option<Rc<KeptAssertion>>,
    /// `Set-Cookie` fields that delete cookies of ours that did not open: for an answer of ours.
    pub(super) junk_cookies: Vec<HeaderValue>,
    route: Option<usize>,
}

impl ActiveRequest {
    /// Begins with a request's head as it came.
    pub(super) fn begin(conn: &Rc<ClientConnection>, parts: &Parts) -> Box<ActiveRequest> {
        let config = conn.handler.config();
        let ids =
            (request_id(&conn.handler, &config, &parts.headers), client(conn, &config, parts));
        let account = RequestAccount::open(conn, &config, ids, parts);
        let timer = ReusedTimer::of(conn, parts.version);
        Box::new(ActiveRequest {
            negotiation: ContentNegotiation::new(&parts.method, parts.version, &parts.headers),
            timeouts: Timeouts::new(account.started(), &config.settings, timer),
            account,
            stream: None,
            windows: None,
            body: None,
            kept_head: None,
            failed: None,
            assertion: None,
            junk_cookies: Vec::new(),
            route: None,
            config,
        })
    }

    /// Notes the normalised target.
    pub(super) fn set_target(&mut self, target: &RequestTarget) {
        self.account.set_target(target);
    }

    /// Notes the route: its limits hold from now on.
    pub(super) fn set_route(&mut self, route: &CompiledRoute) {
        self.route = Some(route.index);
        self.account.set_route(route.index);
        self.timeouts.routed(&route.spec);
    }

    /// Notes that the client's connection was given data of the response.
    pub(super) fn gave_data(&self, now: Instant) {
        self.account.flow().gave(now, self.timeouts.while_held());
    }

    /// Gives up what is left of the body, for an answer of ours. Whether an HTTP/1 connection closes
    /// behind it.
    pub(super) fn give_up_body(&mut self) -> bool {
        match self.body.take() {
            Some(body) => body.give_up(&self.account.conn),
            None => {
                let is_left =
                    self.account.is_uploading() || self.account.conn.state.has_unread_body();
                self.negotiation.version < Version::HTTP_2 && is_left
            }
        }
    }

    /// Adds the session cookies that were sealed anew, unless caches may give the response to others.
    pub(super) fn renew_cookies(&self, headers: &mut HeaderMap) {
        let renewed = self.account.session().map_or(&[][..], |known| known.set_cookies());
        if renewed.is_empty() || is_shared(headers) {
            return;
        }
        for field in renewed {
            headers.append(header::SET_COOKIE, field.clone());
        }
    }

    /// The headers that the configuration sets on its response.
    pub(super) fn response_headers(&self) -> &[(HeaderName, HeaderValue)] {
        let route = self.route.and_then(|index| self.config.routes.get(index));
        route.map_or(&self.config.response_headers, |route| &route.response_headers)
    }
}

/// Whether caches may give a response to other users (RFC 9111, section 5.2.2).
fn is_shared(headers: &HeaderMap) -> bool {
    let directives = crate::fields::tokens(headers, &header::CACHE_CONTROL);
    directives.into_iter().any(|directive| {
        let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        name.eq_ignore_ascii_case(b"public") || name.eq_ignore_ascii_case(b"s-maxage")
    })
}

fn client(conn: &ClientConnection, config: &LocalRequestConfig, parts: &Parts) -> IpAddr {
    let hops = config.settings.forwarded_for.trusted_hops;
    client_ip(&parts.headers, conn.peer.ip(), hops)
}

/// The id that a trusted proxy sent, or a new one.
fn request_id(
    handler: &RequestHandler,
    config: &LocalRequestConfig,
    headers: &HeaderMap,
) -> HeaderValue {
    let trusted = config.settings.forwarded_for.trusted_hops > 0;
    let theirs = headers.get(REQUEST_ID).filter(|id| trusted && is_acceptable(id));
    let mut id = theirs.cloned().unwrap_or_else(|| handler.ids.next());
    // Kept out of HPACK's dynamic table (RFC 7541 section 7.1.3): a value that never comes again
    // would push out those that do, and each response would be compared with all before it.
    id.set_sensitive(true);
    id
}
