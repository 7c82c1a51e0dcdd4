//! What all checks share, and what they tell the thread's loop.

use std::{
    cell::RefCell,
    sync::{Arc, Weak},
};

use portcullis_abi::SplitMix64;
use tokio::sync::{Semaphore, mpsc::UnboundedSender};

use super::{board::HealthBoard, stall::StallClock};
use crate::{
    observe::HealthMetrics,
    upstream::{Cluster, EndpointHealth},
};

/// The most checks under way at a time.
const MOST_CHECKS: usize = 256;

/// What all checks share.
pub(super) struct CheckContext {
    pub(super) board: Arc<HealthBoard>,
    pub(super) metrics: Arc<HealthMetrics>,
    pub(super) stalls: StallClock,
    pub(super) events: UnboundedSender<CheckEvent>,
    pub(super) under_way: Semaphore,
    /// The connections that may wait for another check.
    pub(super) may_keep: Arc<Semaphore>,
    pub(super) random: RefCell<SplitMix64>,
}

/// What the thread's loop has to know of a check.
#[derive(Debug)]
pub(super) enum CheckEvent {
    /// The endpoints that are available in a cluster are others now.
    Changed(Weak<Cluster>),
    /// An endpoint that is ejected has passed a check.
    PassedWhileEjected(Arc<EndpointHealth>),
    /// An endpoint has its first result.
    FirstResult,
    /// The task of a check has panicked.
    Panicked,
}

impl CheckContext {
    /// `descriptors` are the most connections that checks may have.
    pub(super) fn new(
        board: &Arc<HealthBoard>,
        metrics: &Arc<HealthMetrics>,
        events: UnboundedSender<CheckEvent>,
        descriptors: usize,
        seed: u64,
    ) -> CheckContext {
        let under_way = MOST_CHECKS.min(descriptors.div_ceil(2)).max(1);
        CheckContext {
            board: Arc::clone(board),
            metrics: Arc::clone(metrics),
            stalls: StallClock::new(std::time::Instant::now()),
            events,
            under_way: Semaphore::new(under_way),
            may_keep: Arc::new(Semaphore::new(descriptors.saturating_sub(under_way))),
            random: RefCell::new(SplitMix64::new(seed)),
        }
    }
}

/// Tells the thread's loop of a panic, which would end this task alone: the endpoint would never be
/// checked again.
pub(super) struct PanicNotice(pub(super) UnboundedSender<CheckEvent>);

impl Drop for PanicNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.0.send(CheckEvent::Panicked);
        }
    }
}
