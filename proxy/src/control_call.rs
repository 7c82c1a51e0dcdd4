//! Calls to the control thread, for what only it can do.
//!
//! A caller, such as a request on a worker, sends a request and awaits the answer. The queue is
//! bounded and a full one refuses at once, so that a slow control thread cannot pile up work; every
//! call has a deadline; and a caller that goes away, with the client it works for, cancels its
//! call. The control thread sees that nobody waits and stops its part.
//!
//! Nothing here is bound to a runtime: a worker's ring thread and the control thread both await
//! plain tokio channels and timers. The order to leave for a successor (`app::handover`) joined
//! first; the identity room joins with the refresh of tokens.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// Makes a queue of at most `capacity` calls, which must not be 0, and gives its two ends.
pub(crate) fn channel<Q, A>(capacity: usize) -> (ControlCaller<Q, A>, ControlCalls<Q, A>) {
    let (queue, calls) = mpsc::channel(capacity);
    (ControlCaller { queue }, ControlCalls { calls })
}

/// The callers' end. Clones share one queue.
#[derive(Debug)]
pub(crate) struct ControlCaller<Q, A> {
    queue: mpsc::Sender<ControlCall<Q, A>>,
}

/// The control thread's end.
#[derive(Debug)]
pub(crate) struct ControlCalls<Q, A> {
    calls: mpsc::Receiver<ControlCall<Q, A>>,
}

/// One call, which is to be answered.
#[derive(Debug)]
pub(crate) struct ControlCall<Q, A> {
    /// What the caller asks for.
    pub request: Q,
    /// `None` for a request that needs no answer.
    answer: Option<oneshot::Sender<A>>,
}

/// Why a call has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ControlCallError {
    /// Too many calls are waiting already. The request was not sent.
    #[error("too many calls wait for the control thread")]
    QueueFull,
    /// The control thread takes no calls any more, or dropped this one.
    #[error("the control thread does not answer calls")]
    ControlGone,
    /// The answer did not arrive in time. The control thread may still do what it was asked for.
    #[error("the control thread did not answer in time")]
    DeadlinePassed,
}

impl<Q, A> ControlCaller<Q, A> {
    /// Sends a request and awaits its answer for at most `timeout`. Dropping the future cancels the
    /// call. Needs the timer of a tokio runtime.
    pub(crate) async fn call(&self, request: Q, timeout: Duration) -> Result<A, ControlCallError> {
        let (answer, answered) = oneshot::channel();
        let answer = Some(answer);
        self.queue.try_send(ControlCall { request, answer }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => ControlCallError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => ControlCallError::ControlGone,
        })?;
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(ControlCallError::ControlGone),
            Err(_) => Err(ControlCallError::DeadlinePassed),
        }
    }

    /// Sends a request that needs no answer. It is lost if the queue is full.
    pub(crate) fn notify(&self, request: Q) {
        let _ = self.queue.try_send(ControlCall { request, answer: None });
    }
}

impl<Q, A> Clone for ControlCaller<Q, A> {
    fn clone(&self) -> Self {
        ControlCaller { queue: self.queue.clone() }
    }
}

impl<Q, A> ControlCalls<Q, A> {
    /// Awaits the next call that somebody still waits for; `None` once no caller is left.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self) -> Option<ControlCall<Q, A>> {
        loop {
            let call = self.calls.recv().await?;
            if call.is_awaited() {
                return Some(call);
            }
        }
    }
}

impl<Q, A> ControlCall<Q, A> {
    /// Whether the caller still waits: it may have gone away, or its deadline may have passed. A
    /// request that needs no answer always counts.
    pub(crate) fn is_awaited(&self) -> bool {
        self.answer.as_ref().is_none_or(|answer| !answer.is_closed())
    }

    /// Answers. A caller that no longer waits hears nothing.
    pub(crate) fn answer(self, answer: A) {
        if let Some(waiting) = self.answer {
            let _ = waiting.send(answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt;

    /// Only a fault waits this long.
    const LONG: Duration = Duration::from_secs(600);

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn a_call_from_a_worker_s_ring_is_answered_by_another_thread() {
        let (caller, mut calls) = channel::<u32, u32>(1);
        let worker = std::thread::spawn(move || {
            rt::Runtime::new().unwrap().block_on(async move { caller.call(20, LONG).await })
        });
        block_on(async {
            let call = calls.next().await.unwrap();
            let doubled = call.request * 2;
            call.answer(doubled);
        });
        assert_eq!(worker.join().unwrap(), Ok(40));
    }

    #[test]
    fn a_request_that_needs_no_answer_is_served() {
        block_on(async {
            let (caller, mut calls) = channel::<u32, ()>(1);
            caller.notify(1);
            caller.notify(2);
            let call = calls.next().await.unwrap();
            assert_eq!((call.request, call.is_awaited()), (1, true));
            call.answer(());
        });
    }

    #[test]
    fn a_full_queue_refuses_a_call_at_once() {
        block_on(async {
            let (caller, _calls) = channel::<(), ()>(1);
            let waiting = caller.clone();
            let first = tokio::spawn(async move { waiting.call((), LONG).await });
            tokio::task::yield_now().await;
            assert_eq!(caller.call((), LONG).await, Err(ControlCallError::QueueFull));
            first.abort();
        });
    }

    #[test]
    fn a_call_that_nobody_answers_in_time_fails_and_is_abandoned() {
        block_on(async {
            let (caller, mut calls) = channel::<(), ()>(1);
            let (answer, call) = tokio::join!(caller.call((), LONG), async {
                let call = calls.next().await.unwrap();
                assert!(call.is_awaited());
                call
            });
            assert_eq!(answer, Err(ControlCallError::DeadlinePassed));
            assert!(!call.is_awaited());
            call.answer(());
        });
    }

    #[test]
    fn a_caller_that_goes_away_cancels_its_call() {
        block_on(async {
            let (caller, mut calls) = channel::<u32, ()>(2);
            let gone = caller.clone();
            let gone = tokio::spawn(async move { gone.call(1, LONG).await });
            tokio::task::yield_now().await;
            gone.abort();
            assert!(gone.await.unwrap_err().is_cancelled());
            // The control thread never sees the first.
            let (answer, ()) = tokio::join!(caller.call(2, LONG), async {
                let call = calls.next().await.unwrap();
                assert_eq!(call.request, 2);
                call.answer(());
            });
            assert_eq!(answer, Ok(()));
        });
    }

    #[test]
    fn a_control_thread_that_is_gone_fails_the_call() {
        block_on(async {
            let (caller, mut calls) = channel::<(), ()>(1);
            let (answer, ()) = tokio::join!(caller.call((), LONG), async {
                drop(calls.next().await.unwrap());
            });
            assert_eq!(answer, Err(ControlCallError::ControlGone), "the call was dropped");
            drop(calls);
            assert_eq!(caller.call((), LONG).await, Err(ControlCallError::ControlGone));
        });
    }

    #[test]
    fn calls_end_when_no_caller_is_left() {
        block_on(async {
            let (caller, mut calls) = channel::<(), ()>(1);
            drop(caller);
            assert!(calls.next().await.is_none());
        });
    }
}
