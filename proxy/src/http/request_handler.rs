//! What a worker handles requests with.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::UnixTime;

use super::{
    request_config::{LocalRequestConfig, RequestConfig},
    request_id::RequestIds,
};
use crate::{observe::WorkerObserver, upstream::Upstreams};

/// What a worker handles requests with. It stays on its worker's thread.
#[derive(Debug)]
pub struct RequestHandler {
    /// The worker's connections to upstreams.
    pub upstreams: Upstreams,
    /// The worker's counters and log.
    pub observer: Rc<WorkerObserver>,
    pub(super) ids: RequestIds,
    clock: Arc<dyn TimeProvider>,
    config: RefCell<Rc<LocalRequestConfig>>,
}

impl RequestHandler {
    /// A handler that begins with this configuration.
    pub fn new(
        upstreams: Upstreams,
        observer: Rc<WorkerObserver>,
        config: Arc<RequestConfig>,
    ) -> RequestHandler {
        let config = RefCell::new(Rc::new(LocalRequestConfig::new(config)));
        let clock = Arc::new(DefaultTimeProvider);
        RequestHandler { upstreams, observer, ids: RequestIds::new(), clock, config }
    }

    /// Verifies certificates by another clock than the system's.
    pub fn with_clock(self, clock: Arc<dyn TimeProvider>) -> RequestHandler {
        RequestHandler { clock, ..self }
    }

    /// The time to verify certificates at; `None` if the clock fails.
    pub(super) fn now(&self) -> Option<UnixTime> {
        self.clock.current_time()
    }

    /// The configuration for a request that begins now.
    pub fn config(&self) -> Rc<LocalRequestConfig> {
        self.config.borrow().clone()
    }

    /// Changes the configuration for requests to come; those under way keep theirs.
    pub fn set_config(&self, config: Arc<RequestConfig>) {
        *self.config.borrow_mut() = Rc::new(LocalRequestConfig::new(config));
    }
}
