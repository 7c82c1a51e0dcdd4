//! How workers tell the health thread that an endpoint has reached a threshold.

use std::sync::Arc;

use tokio::sync::mpsc;

use crate::upstream::health::EndpointHealth;

/// The most proposals that may wait for the health thread.
const MOST_WAITING: usize = 1024;

/// An endpoint that a worker has seen reach a threshold. Whether it is ejected is for the health
/// thread to say.
#[derive(Debug)]
pub(crate) struct EjectionProposal {
    /// The endpoint.
    pub endpoint: Arc<EndpointHealth>,
    /// The threshold.
    pub trigger: EjectionTrigger,
}

/// What an endpoint did too often in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EjectionTrigger {
    /// It answered with status 5xx.
    Consecutive5xx,
    /// It answered with status 502, 503 or 504.
    ConsecutiveGatewayFailure,
    /// It gave no answer.
    ConsecutiveLocalOriginFailure,
}

/// Where proposals go. Without a receiver they are dropped.
#[derive(Debug, Clone)]
pub(crate) struct EjectionSender(mpsc::Sender<EjectionProposal>);

impl EjectionSender {
    /// A bounded channel.
    pub(crate) fn channel() -> (EjectionSender, mpsc::Receiver<EjectionProposal>) {
        let (sender, receiver) = mpsc::channel(MOST_WAITING);
        (EjectionSender(sender), receiver)
    }

    /// Nobody receives.
    pub(crate) fn detached() -> EjectionSender {
        EjectionSender::channel().0
    }

    /// Never waits. False if the channel is full: the endpoint will reach the threshold again.
    pub(in crate::upstream::health) fn propose(&self, proposal: EjectionProposal) -> bool {
        self.0.try_send(proposal).is_ok()
    }
}
