//! When a draining connection may be told to go.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

use super::registry::Entry;

/// How long a connection that has not asked for anything yet may still do so: the client has just
/// been let in, and would not try again elsewhere.
const GRACE: Duration = Duration::from_secs(1);

/// Whether and when a connection is to be told to finish.
#[derive(Default)]
pub(super) enum Leave {
    /// No order to drain has come.
    #[default]
    Staying,
    /// One has, and the first request is waited for.
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
        has_requested: bool,
    ) -> bool {
        loop {
            match self {
                Leave::Staying if !entry.poll_draining(cx) => return false,
                Leave::Staying => *self = Leave::Waiting(Box::pin(sleep(GRACE))),
                Leave::Waiting(grace) => {
                    if !has_requested && grace.as_mut().poll(cx) == Poll::Pending {
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
}
