//! The hold of one exchange on its connection.

use std::{rc::Rc, sync::Arc, time::Instant};

use super::{
    DnsName, Endpoint,
    cluster::leads_to,
    host::{Carrier, Host, InFlight},
    progress::Progress,
};

/// Gives the connection back when the exchange is complete in both directions, and closes it when
/// dropped before: a connection with half a message on it must never carry another request.
#[derive(Debug)]
pub(super) struct Lease {
    host: Rc<Host>,
    /// The endpoint's, and not the endpoint itself: its count is shared by all workers.
    name: Option<Arc<DnsName>>,
    /// Gone once the exchange is over.
    carrier: Option<Carrier>,
    begun: Instant,
    answer: Option<Answer>,
    /// Counts the request for as long as it lasts.
    pub(super) in_flight: Option<InFlight>,
}

/// What is known once the response's head is there. Before, a request that is given up ends with
/// its future, and the body of one that could not be sent must stay as it is.
#[derive(Debug)]
struct Answer {
    /// The response leaves the connection open.
    stays_open: bool,
    /// The request body's; `None` for an empty one.
    progress: Option<Rc<Progress>>,
}

impl Lease {
    pub(super) fn new(host: Rc<Host>, endpoint: &Endpoint, carrier: Carrier) -> Lease {
        let (carrier, begun) = (Some(carrier), Instant::now());
        Lease {
            host,
            name: endpoint.name().cloned(),
            carrier,
            begun,
            answer: None,
            in_flight: None,
        }
    }

    pub(super) fn carrier(&mut self) -> Option<&mut Carrier> {
        self.carrier.as_mut()
    }

    /// The response's head has come.
    pub(super) fn answered(&mut self, stays_open: bool, progress: Option<Rc<Progress>>) {
        self.answer = Some(Answer { stays_open, progress });
        if let Some(Carrier::Http2(member)) = &self.carrier {
            member.hear(Instant::now());
        }
    }

    /// The connection turned out to be going away: nobody else is to join it.
    pub(super) fn retire(&self) {
        if let Some(Carrier::Http2(member)) = &self.carrier {
            member.retire();
        }
    }

    /// The response has been read to its end.
    pub(super) fn complete(mut self) {
        self.release(true);
    }

    fn release(&mut self, response_complete: bool) {
        let Some(carrier) = self.carrier.take() else { return };
        let now = Instant::now();
        let keep = match (self.answer.take(), &carrier) {
            (Some(answer), _) => {
                self.host.patience.exchanged(now.saturating_duration_since(self.begun));
                answer.end() && response_complete && self.leads_there(&carrier)
            }
            (None, Carrier::Http2(member)) => {
                member.give_up(self.begun, now);
                false
            }
            (None, Carrier::Http1 { .. }) => false,
        };
        self.host.give_back(carrier, keep, now);
    }

    fn leads_there(&self, carrier: &Carrier) -> bool {
        let address = match carrier {
            Carrier::Http1 { connection, .. } => connection.address,
            Carrier::Http2(member) => member.connection.address,
        };
        self.name.as_ref().is_none_or(|name| leads_to(name, address))
    }
}

impl Answer {
    /// Whether the connection is free for another request. A request body that has not been sent by
    /// now never will be. What hyper still has to do for one that has been (to write its last
    /// bytes) keeps the connection from being ready, and the pool passes over it until it is.
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
