//! What a worker handles requests with.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls_pki_types::UnixTime;

use super::{
    request_config::{LocalRequestConfig, RequestConfig},
    request_id::RequestIds,
};
use crate::{
    identity::worker::{IdentityHandle, IdentityWorker},
    observe::WorkerObserver,
    reclaim::FormerValues,
    upstream::Upstreams,
};

/// What a worker handles requests with. It stays on its worker's thread.
#[derive(Debug)]
pub(crate) struct RequestHandler {
    /// The worker's connections to upstreams.
    pub upstreams: Upstreams,
    /// The worker's counters and log.
    pub observer: Rc<WorkerObserver>,
    /// The sessions that the worker knows, and its way to the control thread.
    pub(super) identity: IdentityWorker,
    pub(super) ids: RequestIds,
    clock: Arc<dyn TimeProvider>,
    config: RefCell<Rc<LocalRequestConfig>>,
    former: FormerValues<LocalRequestConfig>,
}

impl RequestHandler {
    /// A handler that begins with this configuration.
    pub(crate) fn new(
        upstreams: Upstreams,
        observer: Rc<WorkerObserver>,
        identity: IdentityHandle,
        config: Arc<RequestConfig>,
    ) -> RequestHandler {
        let identity = IdentityWorker::new(identity);
        let config = RefCell::new(Rc::new(LocalRequestConfig::new(config)));
        let clock = Arc::new(DefaultTimeProvider);
        let former = FormerValues::default();
        let ids = RequestIds::new();
        RequestHandler { upstreams, observer, identity, ids, clock, config, former }
    }

    /// Verifies certificates by another clock than the system's.
    #[cfg(test)]
    pub(crate) fn with_clock(self, clock: Arc<dyn TimeProvider>) -> RequestHandler {
        RequestHandler { clock, ..self }
    }

    /// The time to verify certificates at; `None` if the clock fails.
    pub(super) fn now(&self) -> Option<UnixTime> {
        self.clock.current_time()
    }

    /// The configuration for a request that begins now.
    pub(crate) fn config(&self) -> Rc<LocalRequestConfig> {
        self.config.borrow().clone()
    }

    /// Changes the configuration for requests to come; those under way keep theirs.
    pub(crate) fn set_config(&self, config: Arc<RequestConfig>) {
        let next = Rc::new(LocalRequestConfig::new(config));
        self.former.keep(self.config.replace(next));
    }

    /// Gives former configurations and endpoints away that no request uses any more: another thread
    /// frees them.
    pub(crate) fn release_former(&self) {
        self.former.release();
        self.upstreams.release_former();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Weak, thread};

    use super::*;
    use crate::{http::testing::settings, observe::RouteMetrics, tls::ClientAuth};

    fn config() -> Arc<RequestConfig> {
        let metrics = Arc::new(RouteMetrics::new(1));
        Arc::new(RequestConfig::new(
            settings(),
            Vec::new(),
            metrics,
            Arc::new(ClientAuth::default()),
        ))
    }

    fn handler(config: Arc<RequestConfig>) -> RequestHandler {
        let observer = Rc::new(WorkerObserver::detached(0));
        let identity = IdentityHandle::detached();
        RequestHandler::new(Upstreams::new(Rc::clone(&observer)), observer, identity, config)
    }

    #[test]
    fn a_worker_holds_only_configurations_that_are_in_use() {
        let handler = handler(config());
        let request = handler.config();
        let mut former: Vec<Weak<RequestConfig>> = vec![Arc::downgrade(&request.0)];
        for _ in 0..1_000 {
            let next = config();
            former.push(Arc::downgrade(&next));
            handler.set_config(next);
            handler.release_former();
        }
        let current = former.pop();
        assert!(current.is_some_and(|current| current.strong_count() == 1));
        let held = |former: &[Weak<RequestConfig>]| {
            former.iter().filter(|former| former.strong_count() > 0).count()
        };
        // The other thread frees them at its own pace.
        while held(&former) > 1 {
            thread::yield_now();
        }
        drop(request);
        assert_eq!(held(&former), 1, "the last reference is the worker's to give away");
        handler.release_former();
        while held(&former) > 0 {
            thread::yield_now();
        }
    }
}
