//! A request's lease of its connection.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    progress::Progress,
};

/// Returns the connection to the pool when the request is complete in both directions, and closes
/// it when dropped earlier: a connection with half a message on it must never carry another
/// request.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Rc<EndpointPool>,
    /// `None` once the request has ended.
    connection: Option<PooledConnection>,
    begun: Instant,
    response: Option<ResponseStart>,
    /// Counts the request until it is dropped.
    pub(super) in_flight: Option<InFlight>,
}

/// State from the response's head on. A request that is cancelled earlier ends with its future, and
/// the body of a request that could not be sent must stay unchanged.
#[derive(Debug)]
struct ResponseStart {
    /// The response allows the connection to be reused.
    stays_open: bool,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
}

impl Lease {
    pub(super) fn new(pool: Rc<EndpointPool>, connection: PooledConnection) -> Lease {
        let (connection, begun) = (Some(connection), Instant::now());
        Lease { pool, connection, begun, response: None, in_flight: None }
    }

    pub(super) fn connection(&mut self) -> Option<&mut PooledConnection> {
        self.connection.as_mut()
    }

    /// The response's head has come.
    pub(super) fn response_started(&mut self, stays_open: bool, progress: Option<Rc<Progress>>) {
        self.response = Some(ResponseStart { stays_open, progress });
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

    /// The upstream is closing the connection: no other request joins it.
    pub(super) fn retire(&self) {
        if let Some(PooledConnection::Http2(shared)) = &self.connection {
            shared.retire();
        }
    }

    /// The response has been read to its end.
    pub(super) fn complete(mut self) {
        self.release(true);
    }

    fn release(&mut self, response_complete: bool) {
        let Some(connection) = self.connection.take() else { return };
        let now = Instant::now();
        let keep = match (self.response.take(), &connection) {
            (Some(response), _) => {
                self.pool.reuse.exchanged(now.saturating_duration_since(self.begun));
                let is_free = response.end() && response_complete;
                is_free && self.pool.leads_to(address(&connection))
            }
            (None, PooledConnection::Http2(shared)) => {
                shared.give_up(now);
                false
            }
            (None, PooledConnection::Http1 { .. }) => false,
        };
        self.pool.give_back(connection, keep, now);
    }
}

fn address(connection: &PooledConnection) -> Option<IpAddr> {
    match connection {
        PooledConnection::Http1 { connection, .. } => connection.address.as_deref().copied(),
        PooledConnection::Http2(shared) => shared.connection.address,
    }
}

impl ResponseStart {
    /// Whether the connection is free for another request. A request body that is still unfinished
    /// will never be sent. If hyper still has to write the last bytes of a finished body, the
    /// connection is not ready, and the pool skips it until it is.
    fn end(self) -> bool {
        let request_complete = self.progress.as_ref().is_none_or(|progress| progress.is_ended());
        if let Some(progress) = self.progress {
            progress.abandon();
        }
        request_complete && self.stays_open
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release(false);
    }
}
