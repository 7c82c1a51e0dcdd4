//! When a draining connection tells its client to go.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::Registration;

/// How long a client may still send a request. A client that has just connected would not retry
/// elsewhere, and over HTTP/1 a request that is on its way would be lost.
const GRACE: Duration = Duration::from_secs(1);

/// How long an HTTP/2 client may take to go that was told to make room for another.
const EVICTION_GRACE: Duration = Duration::from_millis(250);

/// The stages of a graceful close.
#[derive(Default)]
pub(super) enum GracefulClose {
    /// No order to drain has come.
    #[default]
    Open,
    /// The order has come, and the client may still send a request.
    Grace(Pin<Box<Sleep>>),
    /// The client has been told.
    Announced,
    /// The client has been told, and has until then, since it must make room for another.
    Evicted(Pin<Box<Sleep>>),
}

impl GracefulClose {
    /// Whether the client must be told now. True once.
    pub(super) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        registration: &Registration,
        skip_grace: bool,
    ) -> bool {
        loop {
            match self {
                GracefulClose::Open if !registration.poll_draining(cx) => return false,
                GracefulClose::Open => *self = GracefulClose::Grace(Box::pin(sleep(GRACE))),
                GracefulClose::Grace(grace) => {
                    let is_evicted = registration.is_evicted();
                    let skip_grace = skip_grace || is_evicted;
                    if !skip_grace && grace.as_mut().poll(cx) == Poll::Pending {
                        return false;
                    }
                    *self = match is_evicted {
                        true => GracefulClose::Evicted(Box::pin(sleep(EVICTION_GRACE))),
                        false => GracefulClose::Announced,
                    };
                    return true;
                }
                GracefulClose::Announced | GracefulClose::Evicted(_) => return false,
            }
        }
    }

    /// Whether the client has been told.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self, GracefulClose::Announced | GracefulClose::Evicted(_))
    }

    /// Whether the client must make room for another.
    pub(super) fn is_evicted(&self) -> bool {
        matches!(self, GracefulClose::Evicted(_))
    }

    /// Whether a client that must make room has had its time to go.
    pub(super) fn poll_overdue(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            GracefulClose::Evicted(time) => time.as_mut().poll(cx).is_ready(),
            _ => false,
        }
    }

    /// Whether the order to drain has come.
    pub(super) fn is_draining(&self) -> bool {
        !matches!(self, GracefulClose::Open)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;
    use crate::conn::ConnectionRegistry;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_may_be_about_to_send_a_request_gets_time() {
        let registry = ConnectionRegistry::default();
        let registration = registry.register();
        for skip_grace in [false, true] {
            let mut close = GracefulClose::default();
            registry.drain();
            let begun = Instant::now();
            poll_fn(|cx| match close.poll_due(cx, &registration, skip_grace) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            assert_eq!(begun.elapsed() >= GRACE, !skip_grace);
            assert!(close.is_announced());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_must_make_room_is_told_at_once() {
        let registry = ConnectionRegistry::default();
        let registration = registry.register();
        assert!(registry.evict());
        let (mut close, begun) = (GracefulClose::default(), Instant::now());
        let due = poll_fn(|cx| Poll::Ready(close.poll_due(cx, &registration, false))).await;
        assert!(due && close.is_announced() && close.is_evicted());
        poll_fn(|cx| match close.poll_overdue(cx) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
        assert_eq!(begun.elapsed(), EVICTION_GRACE);
    }
}
