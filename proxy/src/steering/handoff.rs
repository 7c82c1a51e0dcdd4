//! The way from worker to worker: a queue to each.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::{
    Mutex, OwnedMutexGuard,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Queues to all workers. Not bounded: everything in them is one of the connections there may be.
#[derive(Debug)]
pub struct Mailboxes<T>(Arc<[Mailbox<T>]>);

#[derive(Debug)]
struct Mailbox<T> {
    sender: UnboundedSender<T>,
    /// Locked by the worker for as long as it runs. One that takes its place finds what waits.
    receiver: Arc<Mutex<UnboundedReceiver<T>>>,
}

impl<T> Mailboxes<T> {
    /// Empty ones.
    pub fn new(workers: usize) -> Mailboxes<T> {
        let mailbox = |_| {
            let (sender, receiver) = unbounded_channel();
            Mailbox { sender, receiver: Arc::new(Mutex::new(receiver)) }
        };
        Mailboxes((0..workers).map(mailbox).collect())
    }

    /// Sends to a worker. Gives back what cannot be sent: the worker has ended, or there is none.
    pub(super) fn send(&self, worker: u32, item: T) -> Result<(), T> {
        let mailbox = usize::try_from(worker).ok().and_then(|worker| self.0.get(worker));
        match mailbox {
            Some(mailbox) => mailbox.sender.send(item).map_err(|refused| refused.0),
            None => Err(item),
        }
    }

    /// A worker's own end; `None` while another thread has it.
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

/// What others send to one worker.
#[derive(Debug)]
pub struct Inbox<T>(OwnedMutexGuard<UnboundedReceiver<T>>);

impl<T> Inbox<T> {
    /// The next; `None` once it is closed and empty.
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }

    /// Takes no more. What was sent before is still there.
    pub fn close(&mut self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_worker_waits_for_the_one_that_takes_its_place() {
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
