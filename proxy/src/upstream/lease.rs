//! The hold of one exchange on its connection.

use std::{rc::Rc, sync::Arc, time::Instant};

use super::{
    Endpoint,
    host::{Carrier, Host, InFlight},
    progress::Progress,
};

/// Gives the connection back when the exchange is complete in both directions, and closes it when
/// dropped before: a connection with half a message on it must never carry another request.
#[derive(Debug)]
pub(super) struct Lease {
    host: Rc<Host>,
    endpoint: Arc<Endpoint>,
    /// Gone once the exchange is over.
    carrier: Option<Carrier>,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
    /// The response leaves the connection open.
    pub(super) stays_open: bool,
    /// Counts the request for as long as it lasts.
    pub(super) in_flight: Option<InFlight>,
}

impl Lease {
    pub(super) fn new(
        host: Rc<Host>,
        endpoint: Arc<Endpoint>,
        carrier: Carrier,
        progress: Option<Rc<Progress>>,
    ) -> Lease {
        let carrier = Some(carrier);
        Lease { host, endpoint, carrier, progress, stays_open: false, in_flight: None }
    }

    pub(super) fn carrier(&mut self) -> Option<&mut Carrier> {
        self.carrier.as_mut()
    }

    /// The response has been read to its end.
    pub(super) fn complete(mut self) {
        self.release(true);
    }

    /// A request body that has not been sent by now never will be. What hyper still has to do for
    /// one that has been (to write its last bytes) keeps the connection from being ready, and the
    /// pool passes over it until it is.
    fn release(&mut self, response_complete: bool) {
        let Some(carrier) = self.carrier.take() else { return };
        let request_complete = self.progress.as_ref().is_none_or(|progress| progress.is_ended());
        if let Some(progress) = &self.progress {
            progress.abandon();
        }
        let address = match &carrier {
            Carrier::Http1 { connection, .. } => connection.address,
            Carrier::Http2(member) => member.connection.address,
        };
        let keep = response_complete
            && request_complete
            && self.stays_open
            && self.endpoint.leads_to(address);
        self.host.give_back(carrier, keep, Instant::now());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release(false);
    }
}
