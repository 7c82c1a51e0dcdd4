//! A request's hold on its connection.

use std::{net::IpAddr, rc::Rc, time::Instant};

use super::{
    endpoint_pool::{EndpointPool, InFlight, PooledConnection},
    progress::Progress,
};

/// Gives the connection back when the request is complete in both directions, and closes it when
/// dropped before: a connection with half a message on it must never carry another request.
#[derive(Debug)]
pub(super) struct Lease {
    pool: Rc<EndpointPool>,
    /// Gone once the request is over.
    connection: Option<PooledConnection>,
    begun: Instant,
    response: Option<ResponseStart>,
    /// Counts the request for as long as it lasts.
    pub(super) in_flight: Option<InFlight>,
}

/// What is known once the response's head is there. A request that is given up before ends with its
/// future, and the body of one that could not be sent must stay as it is.
#[derive(Debug)]
struct ResponseStart {
    /// The response leaves the connection open.
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
        if let Some(PooledConnection::Http2(shared)) = &self.connection {
            shared.hear(Instant::now());
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
                shared.give_up(self.begun, now);
                false
            }
            (None, PooledConnection::Http1 { .. }) => false,
        };
        self.pool.give_back(connection, keep, now);
    }
}

fn address(connection: &PooledConnection) -> Option<IpAddr> {
    match connection {
        PooledConnection::Http1 { connection, .. } => connection.address,
        PooledConnection::Http2(shared) => shared.connection.address,
    }
}

impl ResponseStart {
    /// Whether the connection is free for another request. A request body that has not been sent by
    /// now never will be. If hyper still has to write the last bytes of one that has been sent, the
    /// connection is not ready, and the pool passes over it until it is.
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
