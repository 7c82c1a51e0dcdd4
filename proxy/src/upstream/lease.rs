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
    answer: Answer,
    /// Counts the request for as long as it lasts.
    pub(super) in_flight: Option<InFlight>,
}

/// What is known once the response's head is there. Before, a request that is given up ends with
/// its future, and one that could not be sent must stay as it is.
#[derive(Debug, Default)]
struct Answer {
    /// The response leaves the connection open.
    stays_open: bool,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
}

impl Lease {
    pub(super) fn new(host: Rc<Host>, endpoint: Arc<Endpoint>, carrier: Carrier) -> Lease {
        let (carrier, answer) = (Some(carrier), Answer::default());
        Lease { host, endpoint, carrier, answer, in_flight: None }
    }

    /// The response's head has come.
    pub(super) fn answered(&mut self, stays_open: bool, progress: Option<Rc<Progress>>) {
        self.answer = Answer { stays_open, progress };
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
        let Answer { stays_open, progress } = std::mem::take(&mut self.answer);
        let request_complete = progress.as_ref().is_none_or(|progress| progress.is_ended());
        if let Some(progress) = progress {
            progress.abandon();
        }
        let address = match &carrier {
            Carrier::Http1 { connection, .. } => connection.address,
            Carrier::Http2(member) => member.connection.address,
        };
        let keep =
            response_complete && request_complete && stays_open && self.endpoint.leads_to(address);
        self.host.give_back(carrier, keep, Instant::now());
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release(false);
    }
}
