//! A request's lease of its connection.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    rc::{Rc, Weak},
    time::{Duration, Instant},
};

use super::{
    body::Upload,
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    late_upload,
    owner::Owner,
};
use crate::rt;

/// Returns the connection to the pool when the request is complete in both directions, and closes
/// it when dropped earlier: a connection with half a message on it must never carry another
/// request.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Rc<EndpointPool>,
    /// `None` once the request has ended.
    connection: Option<PooledConnection>,
    /// The client that the connection serves alone.
    owner: Option<Weak<Owner>>,
    begun: Instant,
    response: Option<ResponseStart>,
    /// Counts the request until it is dropped.
    pub(super) in_flight: Option<InFlight>,
}

/// State from the response's head on. A request that is cancelled earlier ends with its future, and
/// the body of a request that could not be sent must stay unchanged.
#[derive(Debug)]
struct ResponseStart {
    /// The response allows the connection to be used further.
    stays_open: bool,
    /// How long the request's body may go on after its response.
    late_upload_limit_ms: Option<NonZeroU32>,
    /// The request body's; `None` for an empty one.
    upload: Option<Rc<Upload>>,
}

impl Lease {
    /// `owner` is the client that the connection serves alone.
    pub(super) fn new(
        pool: Rc<EndpointPool>,
        connection: PooledConnection,
        owner: Option<&Rc<Owner>>,
    ) -> Lease {
        Lease {
            pool,
            connection: Some(connection),
            owner: owner.map(Rc::downgrade),
            begun: Instant::now(),
            response: None,
            in_flight: None,
        }
    }

    /// From now on the connection serves this client alone. One that carries other requests beside it
    /// cannot.
    pub(super) fn own(&mut self, owner: &Rc<Owner>) {
        if self.owner.is_none() && matches!(self.connection, Some(PooledConnection::Http1 { .. })) {
            self.pool.own_busy();
            self.owner = Some(Rc::downgrade(owner));
        }
    }

    pub(super) fn connection(&mut self) -> Option<&mut PooledConnection> {
        self.connection.as_mut()
    }

    /// The response's head has come.
    pub(super) fn response_started(&mut self, stays_open: bool, upload: Option<Rc<Upload>>) {
        let late_upload_limit_ms = None;
        self.response = Some(ResponseStart { stays_open, late_upload_limit_ms, upload });
        match &self.connection {
            Some(PooledConnection::Http1 { connection, .. }) => connection.head.end(),
            Some(PooledConnection::Http2(shared)) => shared.hear(Instant::now()),
            None => {}
        }
    }

    /// Whether the connection was closed since the upstream flooded it.
    pub(super) fn is_flooded(&self) -> bool {
        match &self.connection {
            Some(PooledConnection::Http2(shared)) => shared.connection.traffic.is_flood(),
            _ => false,
        }
    }

    /// Limits how long the request's body may go on after its response, whose head has come.
    pub(super) fn limit_late_upload(&mut self, limit_ms: Option<NonZeroU32>) {
        if let Some(response) = &mut self.response {
            response.late_upload_limit_ms = limit_ms;
        }
    }

    /// See [`Lease::limit_late_upload`].
    pub(super) fn late_upload_limit(&self) -> Option<Duration> {
        let limit_ms = self.response.as_ref()?.late_upload_limit_ms?;
        Some(Duration::from_millis(limit_ms.get().into()))
    }

    /// The upstream is closing the connection: no other request joins it.
    pub(super) fn retire(&self) {
        if let Some(PooledConnection::Http2(shared)) = &self.connection {
            shared.retire();
        }
    }

    /// Whether the upstream has answered and takes no more of the request's body, of which there is
    /// more.
    pub(super) fn drops_request(&self) -> bool {
        self.response.as_ref().is_some_and(ResponseStart::drops_request)
    }

    /// The response has been read to its end. The rest of the request may still be sent.
    pub(super) fn complete(self) {
        match self.response.as_ref().and_then(ResponseStart::late_upload) {
            Some(upload) => rt::spawn(late_upload::finish(self, upload)),
            None => self.end(),
        }
    }

    /// Ends the request, whose response has been read to its end.
    pub(super) fn end(mut self) {
        self.release(true);
    }

    fn release(&mut self, response_complete: bool) {
        let Some(connection) = self.connection.take() else { return };
        let now = Instant::now();
        let keep = match (self.response.take(), &connection) {
            (Some(response), _) => {
                self.pool.reuse.exchanged(now.saturating_duration_since(self.begun));
                let is_broken = matches!(&connection, PooledConnection::Http1 { connection, .. }
                    if connection.write_failure.has_happened());
                let is_free = response.end() && response_complete && !is_broken;
                is_free && self.pool.leads_to(address(&connection))
            }
            (None, PooledConnection::Http2(shared)) => {
                shared.give_up(now);
                false
            }
            (None, PooledConnection::Http1 { .. }) => false,
        };
        self.pool.give_back(connection, self.owner.take(), keep, now);
    }
}

fn address(connection: &PooledConnection) -> Option<IpAddr> {
    match connection {
        PooledConnection::Http1 { connection, .. } => connection.address.as_deref().copied(),
        PooledConnection::Http2(shared) => shared.connection.address,
    }
}

impl ResponseStart {
    fn drops_request(&self) -> bool {
        let progress = self.upload.as_ref().map(|upload| &upload.progress);
        let goes_on = self.late_upload().is_some();
        progress.is_some_and(|progress| !progress.is_ended() && !goes_on)
    }

    /// The request's body, if the upstream takes the rest of it.
    fn late_upload(&self) -> Option<Rc<Upload>> {
        self.upload.clone().filter(|upload| self.stays_open && upload.progress.is_running())
    }

    /// Whether the connection is free for another request. A request body that is still unfinished
    /// will never be sent. If hyper still has to write the last bytes of a finished body, the
    /// connection is not ready, and the pool skips it until it is.
    fn end(self) -> bool {
        let is_sent = self.upload.as_ref().is_none_or(|upload| upload.progress.is_ended());
        if let Some(upload) = self.upload {
            upload.abandon();
        }
        is_sent && self.stays_open
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release(false);
    }
}
