//! The open connections of one listener, of which the newest always has a place: a probe must not
//! wait until clients that send nothing, or read nothing, have timed out.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tokio::{sync::Notify, task::JoinHandle};

/// Whether the head of a connection's only request has arrived.
#[derive(Debug, Default)]
pub(super) struct HeadReceived {
    received: AtomicBool,
    notify: Notify,
}

impl HeadReceived {
    /// Notes that it has.
    pub(super) fn set(&self) {
        self.received.store(true, Relaxed);
        self.notify.notify_one();
    }

    /// Waits until it has.
    pub(super) async fn wait(&self) {
        while !self.received.load(Relaxed) {
            self.notify.notified().await;
        }
    }
}

/// The connections, the oldest first.
#[derive(Debug)]
pub(super) struct AdminConnections {
    most: usize,
    open: VecDeque<(JoinHandle<()>, Arc<HeadReceived>)>,
}

impl AdminConnections {
    /// None yet, and never more than `most`.
    pub(super) fn new(most: usize) -> AdminConnections {
        AdminConnections { most, open: VecDeque::new() }
    }

    /// Closes a connection if there is no room for another: the oldest without a head, or else the
    /// oldest.
    pub(super) fn make_room(&mut self) {
        self.open.retain(|(task, _)| !task.is_finished());
        if self.open.len() < self.most {
            return;
        }
        let headless = self.open.iter().position(|(_, head)| !head.received.load(Relaxed));
        if let Some((task, _)) = self.open.remove(headless.unwrap_or(0)) {
            task.abort();
        }
    }

    /// Adds a connection that `task` serves.
    pub(super) fn add(&mut self, task: JoinHandle<()>, head: Arc<HeadReceived>) {
        self.open.push_back((task, head));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Adds a connection that never ends; dropping it drops the value.
    fn add(connections: &mut AdminConnections, has_head: bool) -> std::sync::Weak<()> {
        let (alive, head) = (Arc::new(()), Arc::new(HeadReceived::default()));
        let weak = Arc::downgrade(&alive);
        if has_head {
            head.set();
        }
        connections.make_room();
        let task = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(alive);
        });
        connections.add(task, head);
        weak
    }

    #[test]
    fn the_oldest_without_a_head_goes_first_and_then_the_oldest() {
        block_on(async {
            let mut connections = AdminConnections::new(3);
            let kept = [true, false, false].map(|has_head| add(&mut connections, has_head));
            let open = |which: &[std::sync::Weak<()>]| {
                which.iter().map(|one| one.strong_count() > 0).collect::<Vec<_>>()
            };
            for expected in [[true, false, true], [true, false, false], [false, false, false]] {
                add(&mut connections, true);
                tokio::task::yield_now().await;
                assert_eq!(open(&kept), expected);
            }
        });
    }

    #[test]
    fn a_connection_that_has_ended_takes_no_room() {
        block_on(async {
            let mut connections = AdminConnections::new(2);
            let kept = add(&mut connections, false);
            connections.add(tokio::spawn(async {}), Arc::default());
            tokio::task::yield_now().await;
            add(&mut connections, false);
            tokio::task::yield_now().await;
            assert_eq!(kept.strong_count(), 1);
        });
    }
}
