//! When a draining connection may be told to go.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::registry::Entry;

/// How long a client may still ask: one that has just been let in would not try again elsewhere, and
/// over HTTP/1 one that is about to ask again would lose its request.
const GRACE: Duration = Duration::from_secs(1);

/// Whether and when a connection is to be told to finish.
#[derive(Default)]
pub(super) enum Leave {
    /// No order to drain has come.
    #[default]
    Staying,
    /// One has, and a request is waited for.
    Waiting(Pin<Box<Sleep>>),
    /// The connection has been told.
    Told,
}

impl Leave {
    /// Whether the connection is to be told now. True once.
    pub(super) fn poll_due(
        &mut self,
        cx: &mut Context<'_>,
        entry: &Entry,
        may_go_at_once: bool,
    ) -> bool {
        loop {
            match self {
                Leave::Staying if !entry.poll_draining(cx) => return false,
                Leave::Staying => *self = Leave::Waiting(Box::pin(sleep(GRACE))),
                Leave::Waiting(grace) => {
                    if !may_go_at_once && grace.as_mut().poll(cx) == Poll::Pending {
                        return false;
                    }
                    *self = Leave::Told;
                    return true;
                }
                Leave::Told => return false,
            }
        }
    }

    pub(super) fn is_told(&self) -> bool {
        matches!(self, Leave::Told)
    }

    /// Whether the connection ends because the process does.
    pub(super) fn is_ordered(&self) -> bool {
        !matches!(self, Leave::Staying)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::Instant;

    use super::*;
    use crate::conn::registry::Registry;

    #[tokio::test(start_paused = true)]
    async fn a_client_that_may_be_about_to_ask_is_waited_for() {
        let registry = Registry::default();
        let entry = registry.enter();
        for may_go_at_once in [false, true] {
            let mut leave = Leave::default();
            registry.drain();
            let begun = Instant::now();
            poll_fn(|cx| match leave.poll_due(cx, &entry, may_go_at_once) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            assert_eq!(begun.elapsed() >= GRACE, !may_go_at_once);
            assert!(leave.is_told());
        }
    }
}
