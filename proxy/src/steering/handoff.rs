//! Queues in which workers hand connections over to each other.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{
    Mutex, OwnedMutexGuard,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// A queue to each worker. Not bounded: each entry is one of the limited number of connections.
#[derive(Debug)]
pub(crate) struct Mailboxes<T>(Arc<[Mailbox<T>]>);

#[derive(Debug)]
struct Mailbox<T> {
    sender: UnboundedSender<T>,
    /// Locked by the worker while it runs. Its replacement finds the connections that wait.
    receiver: Arc<Mutex<UnboundedReceiver<T>>>,
}

impl<T> Mailboxes<T> {
    /// Empty queues.
    pub(crate) fn new(workers: usize) -> Mailboxes<T> {
        let mailbox = |_| {
            let (sender, receiver) = unbounded_channel();
            Mailbox { sender, receiver: Arc::new(Mutex::new(receiver)) }
        };
        Mailboxes((0..workers).map(mailbox).collect())
    }

    /// Sends to a worker. Returns the item if the worker has ended or does not exist.
    pub(super) fn send(&self, worker: u32, item: T) -> Result<(), T> {
        let mailbox = usize::try_from(worker).ok().and_then(|worker| self.0.get(worker));
        match mailbox {
            Some(mailbox) => mailbox.sender.send(item).map_err(|refused| refused.0),
            None => Err(item),
        }
    }

    /// A worker's own queue; `None` while another thread has it.
    pub(super) fn open(&self, worker: u32) -> Option<Inbox<T>> {
        let mailbox = self.0.get(usize::try_from(worker).ok()?)?;
        Arc::clone(&mailbox.receiver).try_lock_owned().ok().map(Inbox)
    }
}

impl<T> Clone for Mailboxes<T> {
    fn clone(&self) -> Self {
        Mailboxes(Arc::clone(&self.0))
    }
}

/// The queue of one worker.
#[derive(Debug)]
pub(crate) struct Inbox<T>(OwnedMutexGuard<UnboundedReceiver<T>>);

impl<T> Inbox<T> {
    /// Receives the next item; `None` once the queue is closed and empty.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }

    /// Closes the queue. Items that were sent before stay in it.
    pub(crate) fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queued_connections_wait_for_a_replacement_worker() {
        let mailboxes = Mailboxes::new(2);
        let first = mailboxes.open(1).unwrap();
        assert!(mailboxes.open(1).is_none());
        mailboxes.send(1, "a").unwrap();
        drop(first);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(mailboxes.open(1).unwrap().poll_next(&mut cx), Poll::Ready(Some("a")));
        assert_eq!(mailboxes.open(0).unwrap().poll_next(&mut cx), Poll::Pending);
    }

    #[test]
    fn a_closed_queue_gives_back_what_is_sent_and_keeps_what_was() {
        let mailboxes = Mailboxes::new(1);
        let mut inbox = mailboxes.open(0).unwrap();
        mailboxes.send(0, "before").unwrap();
        inbox.close();
        assert_eq!(mailboxes.send(0, "after"), Err("after"));
        assert_eq!(mailboxes.send(1, "nowhere"), Err("nowhere"));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert_eq!(inbox.poll_next(&mut cx), Poll::Ready(Some("before")));
        assert_eq!(inbox.poll_next(&mut cx), Poll::Ready(None));
    }
}
