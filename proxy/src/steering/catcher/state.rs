//! What all threads see of the catchers.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed},
    },
    thread::Thread,
};

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;

use super::{CookieSource, NoCookies};

/// Where cookies come from at the moment, and counts. Workers only read it, but for the count of
/// connections that land on a catcher, which are rare.
#[derive(Debug, Default)]
pub(crate) struct CookieState {
    source: AtomicU8,
    problem: ArcSwapOption<NoCookies>,
    held: AtomicU64,
    lost: AtomicU64,
    landed: AtomicU64,
    /// Whether catchers were in use at any time.
    was_used: AtomicBool,
    keeper: OnceLock<Thread>,
    changed: Notify,
}

impl CookieState {
    /// At the start, before any catcher is in use.
    pub(crate) fn new(source: CookieSource) -> CookieState {
        let state = CookieState::default();
        state.set(match source {
            CookieSource::Catcher => Err(NoCookies::NotYet),
            other => Ok(other),
        });
        state
    }

    /// Where cookies come from.
    pub(crate) fn source(&self) -> CookieSource {
        let source = self.source.load(Relaxed);
        CookieSource::ALL.into_iter().find(|one| *one as u8 == source).unwrap_or(CookieSource::None)
    }

    /// Why none come.
    pub(crate) fn problem(&self) -> Option<Arc<NoCookies>> {
        self.problem.load_full()
    }

    /// Sets the source, or why there is none.
    pub(super) fn set(&self, source: Result<CookieSource, NoCookies>) {
        let (source, problem) = match source {
            Ok(source) => (source, None),
            Err(problem) => (CookieSource::None, Some(Arc::new(problem))),
        };
        self.problem.store(problem);
        self.source.store(source as u8, Relaxed);
        self.changed.notify_one();
    }

    /// Waits until the source has been set since the last call. For one task. Cancel-safe.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Whether this is the first time that it is asked.
    pub(in crate::steering) fn is_first_use(&self) -> bool {
        !self.was_used.swap(true, Relaxed)
    }

    /// The number of half-open connections that are held.
    pub(crate) fn held(&self) -> u64 {
        self.held.load(Relaxed)
    }

    pub(super) fn set_held(&self, held: usize) {
        self.held.store(held as u64, Relaxed);
    }

    /// How many of them were gone before they were replaced.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    pub(super) fn add_lost(&self, lost: usize) {
        self.lost.fetch_add(lost as u64, Relaxed);
    }

    /// How many connections were accepted at catchers.
    pub(crate) fn landed(&self) -> u64 {
        self.landed.load(Relaxed)
    }

    /// Counts a connection that was accepted at a catcher, and has the held ones checked.
    pub(crate) fn land(&self) {
        self.landed.fetch_add(1, Relaxed);
        if let Some(keeper) = self.keeper.get() {
            keeper.unpark();
        }
    }

    /// Says which thread checks the held connections.
    pub(super) fn set_keeper(&self, thread: Thread) {
        let _ = self.keeper.set(thread);
    }
}
