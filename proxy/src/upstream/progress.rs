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
    /// How many pieces have passed.
    pieces: Cell<u64>,
    /// Woken when the body is abandoned.
    driver: RefCell<Option<Waker>>,
    /// Woken when the body stops running.
    waiter: RefCell<Option<Waker>>,
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
    /// The rest is not needed.
    Abandoned,
}

impl Progress {
    /// A piece has passed, and was not the last.
    pub(super) fn pass(&self) {
        self.pieces.set(self.pieces.get() + 1);
    }

    /// How many pieces have passed.
    pub(super) fn pieces(&self) -> u64 {
        self.pieces.get()
    }

    /// The body has been read to its end.
    pub(super) fn end(&self) {
        self.leave_running(BodyState::Ended);
    }

    /// The client's side failed.
    pub(super) fn fail(&self, why: String) {
        if self.is_running() {
            self.failure.replace(Some(why));
        }
        self.leave_running(BodyState::Failed);
    }

    /// The connection has dropped the body.
    pub(super) fn let_go(&self) {
        self.leave_running(BodyState::LetGo);
    }

    /// The rest of the body is not needed: the connection's driver stops sending it. False if the body
    /// had stopped running.
    pub(super) fn abandon(&self) -> bool {
        let is_running = self.is_running();
        if is_running {
            self.leave_running(BodyState::Abandoned);
            wake(&self.driver);
        }
        is_running
    }

    /// The connection has more of it to send.
    pub(super) fn is_running(&self) -> bool {
        self.state.get() == BodyState::Running
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

    /// Ready once the body has stopped running. For one waiter.
    pub(super) fn poll_stopped(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_running() {
            return Poll::Ready(());
        }
        self.waiter.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn leave_running(&self, state: BodyState) {
        if self.is_running() {
            self.state.set(state);
            wake(&self.waiter);
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
    fn a_body_that_stops_wakes_the_one_who_waits_for_it() {
        let abandon = |progress: &Progress| {
            progress.abandon();
        };
        let stops: [fn(&Progress); 3] = [Progress::end, Progress::let_go, abandon];
        for stop in stops {
            let progress = Progress::default();
            let (woken, waker) = counting();
            let mut cx = Context::from_waker(&waker);
            progress.pass();
            assert!(progress.poll_stopped(&mut cx).is_pending());
            stop(&progress);
            assert_eq!(woken.0.load(Relaxed), 1);
            assert!(progress.poll_stopped(&mut cx).is_ready());
        }
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
