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
    observe::RefusedReason,
    rt,
    steering::{Inbox, Queue},
};

pub(super) struct InboxLoop {
    server: Rc<ConnectionServer>,
    /// `None` where another thread serves in this worker's name, which none does.
    inbox: Option<Inbox<Accepted>>,
    queue: Queue<Accepted>,
}

impl InboxLoop {
    pub(super) fn new(server: Rc<ConnectionServer>) -> InboxLoop {
        InboxLoop { inbox: server.steering.inbox(), queue: server.steering.queue(), server }
    }

    /// Serves what comes until `stopped` is done.
    pub(super) async fn run_until(&mut self, stopped: impl Future<Output = ()>) {
        let mut stopped = pin!(stopped);
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            // It ends only when it is closed, which is ours to do.
            let _ = self.poll_take(cx);
            Poll::Pending
        })
        .await;
    }

    /// Takes no more, and serves what was sent before: nothing that is on its way gets lost.
    pub(super) async fn finish(mut self) {
        if let Some(inbox) = &mut self.inbox {
            inbox.close();
        }
        poll_fn(|cx| self.poll_take(cx)).await;
    }

    /// Takes all there is. Ready once there will be nothing more.
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
    if limits::is_full(server) {
        drop(server.open.take_over(accepted.admission));
        limits::refuse(server, accepted.peer, RefusedReason::WorkerLimit);
        return;
    }
    let registration = server.registry.register();
    rt::spawn(conn::serve(Rc::clone(server), accepted, registration));
}
