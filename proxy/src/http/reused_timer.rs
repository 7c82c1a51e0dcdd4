//! One timer for all requests of an HTTP/1 connection.

use std::{
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use http::Version;
use tokio::time::{Sleep, sleep_until};

use super::connection::ClientConnection;

/// A timer that the requests of an HTTP/1 connection leave to each other, as it is: armed for a time
/// that means nothing to the next request, but most likely early enough for it. So requests that are
/// served in time one after another arm one timer now and then, and not one each.
#[derive(Debug, Default)]
pub(super) struct ReusedTimer {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Gets the timer back.
    owner: Option<Rc<ClientConnection>>,
}

impl ReusedTimer {
    /// The timer for a request of this connection.
    pub(super) fn of(conn: &Rc<ClientConnection>, version: Version) -> ReusedTimer {
        if version >= Version::HTTP_2 {
            // A stream of HTTP/2 has a task of its own, which its timer would keep alive.
            return ReusedTimer::default();
        }
        ReusedTimer { sleep: conn.state.take_timer(), owner: Some(Rc::clone(conn)) }
    }

    /// Ready once it is `at`.
    pub(super) fn poll_at(&mut self, at: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(at.into())));
        if sleep.deadline().into_std() > at {
            sleep.as_mut().reset(at.into());
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at.into());
        }
        Poll::Pending
    }
}

#[cfg(test)]
impl ReusedTimer {
    pub(super) fn is_armed(&self) -> bool {
        self.sleep.is_some()
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        Some(self.sleep.as_ref()?.deadline().into_std())
    }
}

impl Drop for ReusedTimer {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            owner.state.leave_timer(self.sleep.take());
        }
    }
}
