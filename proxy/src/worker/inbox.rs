//! Connections that other workers hand to this one.

use std::{
    future::poll_fn,
    pin::pin,
    rc::Rc,
    task::{Context, Poll},
};

use super::limits;
use crate::{
    conn::{self, Accepted, ConnectionServer},
    rt,
    steering::{Inbox, Queue},
};

pub(super) struct InboxLoop {
    server: Rc<ConnectionServer>,
    /// `None` if another thread uses this worker's id, which does not happen.
    inbox: Option<Inbox<Accepted>>,
    queue: Queue<Accepted>,
}

impl InboxLoop {
    pub(super) fn new(server: Rc<ConnectionServer>) -> InboxLoop {
        InboxLoop { inbox: server.steering.inbox(), queue: server.steering.queue(), server }
    }

    /// Serves connections that arrive until `stopped` is done.
    pub(super) async fn run_until(&mut self, stopped: impl Future<Output = ()>) {
        let mut stopped = pin!(stopped);
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // Only this worker closes it.
            let _ = self.poll_take(cx);
            Poll::Pending
        })
        .await;
    }

    /// Closes the inbox and serves the connections sent before, so that none is lost.
    pub(super) async fn finish(mut self) {
        if let Some(inbox) = &mut self.inbox {
            inbox.close();
        }
        poll_fn(|cx| self.poll_take(cx)).await;
    }

    /// Takes all connections in the inbox. Ready once it is closed and empty.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(inbox) = &mut self.inbox else { return Poll::Ready(()) };
        loop {
            match inbox.poll_next(cx) {
                Poll::Ready(Some(accepted)) => {
                    self.queue.took();
                    take(&self.server, accepted);
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    self.queue.found_empty();
                    return Poll::Pending;
                }
            }
        }
    }
}

fn take(server: &Rc<ConnectionServer>, accepted: Accepted) {
    if let Err(reason) = limits::make_room_here(server) {
        drop(server.open.take_over(accepted.admission));
        limits::refuse(server, accepted.peer, reason);
        return;
    }
    let registration = server.registry.register();
    rt::spawn(conn::serve(Rc::clone(server), accepted, registration));
}
