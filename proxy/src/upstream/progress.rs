//! The progress of a request body, for the side that waits for the response. Pure except for
//! wakers.

use std::{
    cell::{Cell, RefCell},
    task::{Context, Poll, Waker},
};

/// Shared by the body, which the connection's driver holds, and the side that waits for the response.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Cell<BodyState>,
    failure: RefCell<Option<String>>,
    /// Woken when the body is abandoned.
    driver: RefCell<Option<Waker>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum BodyState {
    #[default]
    Running,
    /// Read to its end.
    Ended,
    /// The client did not send all of it.
    Failed,
    /// The connection dropped it before its end.
    LetGo,
    /// The response has ended, and the rest is not needed.
    Abandoned,
}

impl Progress {
    /// The body has been read to its end.
    pub(super) fn end(&self) {
        self.leave_running(BodyState::Ended);
    }

    /// The client's side failed.
    pub(super) fn fail(&self, why: String) {
        if self.state.get() == BodyState::Running {
            self.failure.replace(Some(why));
        }
        self.leave_running(BodyState::Failed);
    }

    /// The connection has dropped the body.
    pub(super) fn let_go(&self) {
        self.leave_running(BodyState::LetGo);
    }

    /// The rest of the body is not needed: the connection's driver stops sending it.
    ///
    /// A request ends with its response, complete or given up. Otherwise an upstream that responds
    /// early and keeps reading would occupy the client's upload and a connection for nothing.
    pub(super) fn abandon(&self) {
        if self.state.get() == BodyState::Running {
            self.state.set(BodyState::Abandoned);
            wake(&self.driver);
        }
    }

    /// The body was read to its end: the connection is free for another request.
    pub(super) fn is_ended(&self) -> bool {
        self.state.get() == BodyState::Ended
    }

    /// Why the client's side failed, if it did.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// For the body: ready once it is abandoned.
    pub(super) fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.get() == BodyState::Abandoned {
            return Poll::Ready(());
        }
        let mut driver = self.driver.borrow_mut();
        if !driver.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *driver = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    fn leave_running(&self, state: BodyState) {
        if self.state.get() == BodyState::Running {
            self.state.set(state);
        }
    }
}

fn wake(waker: &RefCell<Option<Waker>>) {
    let waker = waker.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        task::Wake,
    };

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count::default());
        (count.clone(), count.into())
    }

    #[test]
    fn an_abandoned_body_is_woken_to_stop() {
        let progress = Progress::default();
        let (woken, waker) = counting();
        let mut cx = Context::from_waker(&waker);
        assert!(progress.poll_abandoned(&mut cx).is_pending());
        progress.abandon();
        assert_eq!(woken.0.load(Relaxed), 1);
        assert!(progress.poll_abandoned(&mut cx).is_ready());
        assert!(!progress.is_ended());
    }

    #[test]
    fn a_body_that_ended_stays_ended() {
        let progress = Progress::default();
        progress.end();
        progress.abandon();
        progress.fail("late".to_owned());
        progress.let_go();
        assert!(progress.is_ended());
        assert_eq!(progress.failure(), None);
    }

    #[test]
    fn a_body_dropped_before_its_end_has_not_ended() {
        let progress = Progress::default();
        progress.let_go();
        progress.end();
        assert!(!progress.is_ended());
    }

    #[test]
    fn a_failure_keeps_its_reason() {
        let progress = Progress::default();
        progress.fail("reset".to_owned());
        progress.let_go();
        assert_eq!(progress.failure(), Some("reset".to_owned()));
    }
}
