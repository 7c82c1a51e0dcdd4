//! What is known of a connection, and what passes between it and its requests.

use std::{
    cell::{Cell, RefCell},
    net::{IpAddr, SocketAddr},
    pin::Pin,
    rc::Rc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Response, StatusCode, header::CONNECTION};
use tokio::time::Sleep;

use super::{
    certificate::ClientCertificate, demand::Demand, exchange::Exchange, headers::forwarded,
};
use crate::{observe::TlsVersion, upstream::Upgraded};

/// What is known of a client's connection. Stays on its worker's thread.
#[derive(Debug)]
pub struct Facts {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Our address that it connected to.
    pub local: SocketAddr,
    /// The version of TLS; `None` in plain text.
    pub tls_version: Option<TlsVersion>,
    /// The name it asked for in its handshake, in the form of a request's host.
    pub sni: Option<Box<str>>,
    /// It was asked for a certificate in its handshake, or in the one that its session is from.
    pub certificate_asked: bool,
    /// The certificate it presented.
    pub client_certificate: Option<Rc<ClientCertificate>>,
    /// Set by a request that left HTTP; boxed, as few do. Once hyper's connection future has ended,
    /// its transport and this one's are to be joined.
    pub upgrade: RefCell<Option<Box<PendingUpgrade>>>,
    /// Requests under way, their response bodies included: while there are any, the connection is
    /// not idle.
    pub in_flight: Cell<usize>,
    /// Requests so far.
    pub requests: Cell<u64>,
    /// The process drains: over HTTP/1 the next response is the last.
    pub leaving: Cell<bool>,
    /// Requests that the client gave up before their end, by a reset or by going away.
    pub abandoned: Cell<u64>,
    pub(super) demand: Demand,
    /// Left by the last request for the next.
    pub(super) timer: RefCell<Option<Pin<Box<Sleep>>>>,
    peer_text: HeaderValue,
}

impl Facts {
    /// Of a connection in plain text; the rest is filled in by its fields.
    pub fn new(peer: SocketAddr, local: SocketAddr) -> Facts {
        Facts {
            peer,
            local,
            tls_version: None,
            sni: None,
            certificate_asked: false,
            client_certificate: None,
            upgrade: RefCell::new(None),
            in_flight: Cell::new(0),
            requests: Cell::new(0),
            leaving: Cell::new(false),
            abandoned: Cell::new(0),
            demand: Demand::default(),
            timer: RefCell::new(None),
            peer_text: forwarded::address_value(peer.ip().to_canonical()),
        }
    }

    /// Says in a response that it is the last, where it is (RFC 9112 section 9.6). A client whose
    /// next request is on its way when the connection closes cannot know whether it was served.
    pub(super) fn say_if_last<B>(&self, response: &mut Response<B>) {
        if self.leaving.get() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }

    /// Whether the connection is TLS.
    pub fn is_secure(&self) -> bool {
        self.tls_version.is_some()
    }

    /// Since when the client has left a response lying: it has been given some of it, or its head,
    /// and since then nothing of any response has been asked for. `None` while it reads, or while
    /// there is nothing to read.
    ///
    /// Limits of a request's time are looked at when its response is asked for, so whoever never
    /// asks must be cut off by its connection.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.demand.stalled_since()
    }

    /// Gives back what is kept only to make the next request quick.
    pub fn rest(&self) {
        self.timer.take();
    }

    /// The peer's address, IPv4 where it is one.
    pub(super) fn peer_ip(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// An address as a header value; the peer's is made once.
    pub(super) fn address_value(&self, address: IpAddr) -> HeaderValue {
        match address == self.peer_ip() {
            true => self.peer_text.clone(),
            false => forwarded::address_value(address),
        }
    }

    /// The peer's address as a header value.
    pub(super) fn peer_value(&self) -> &HeaderValue {
        &self.peer_text
    }
}

/// A request that left HTTP: what `conn` joins the client's transport with.
#[derive(Debug)]
pub struct PendingUpgrade {
    /// The upstream's connection.
    pub upstream: Upgraded,
    /// The longest both directions may be silent together; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// When it ends at the latest; `None` is no limit.
    pub deadline: Option<Instant>,
    /// To be kept until the end: dropping it makes the request's record.
    pub record: UpgradeRecord,
}

/// The record of a request that left HTTP, made when this is dropped.
#[derive(Debug)]
pub struct UpgradeRecord(pub(super) Box<Exchange>);

impl UpgradeRecord {
    /// Counts bytes from the client.
    pub fn add_received(&mut self, bytes: u64) {
        self.0.add_received(bytes);
    }

    /// Counts bytes to the client.
    pub fn add_sent(&mut self, bytes: u64) {
        self.0.add_sent(bytes);
    }

    /// Says that it ended because a limit of [`PendingUpgrade`] was reached.
    pub fn timed_out(&mut self) {
        self.0.conclude("stream_idle_timeout".into(), "SI");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_says_that_it_is_the_last_where_http_goes_on_no_more() {
        let address = "192.0.2.1:1".parse().unwrap();
        let facts = Facts::new(address, address);
        let said = |status| {
            let mut response = Response::new(());
            *response.status_mut() = status;
            facts.say_if_last(&mut response);
            response.headers().get(CONNECTION).cloned()
        };
        assert_eq!(said(StatusCode::OK), None);
        facts.leaving.set(true);
        assert_eq!(said(StatusCode::OK), Some(HeaderValue::from_static("close")));
        assert_eq!(said(StatusCode::SWITCHING_PROTOCOLS), None);
    }

    #[tokio::test]
    async fn a_connection_that_rests_keeps_no_timer_of_its_last_request() {
        let address = "192.0.2.1:1".parse().unwrap();
        let facts = Facts::new(address, address);
        facts.timer.replace(Some(Box::pin(tokio::time::sleep(Duration::from_secs(30)))));
        facts.rest();
        assert!(facts.timer.borrow().is_none());
    }
}
