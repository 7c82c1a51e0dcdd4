//! The accept loop of one listener.

use std::{
    future::poll_fn,
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc::Sender, watch};

use super::{ProcessPhase, limits};
use crate::{
    conn::{self, Accepted, ConnectionServer},
    listener::{Listener, ListenerRole, Service},
    observe::RefusedReason,
    rt::{self, AcceptError, AcceptedSocket, Acceptor},
    steering::Queue,
};

/// The delay when descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Number of connections accepted in a row before other tasks run.
const BATCH: u32 = 32;

pub(super) struct AcceptLoop {
    acceptor: Acceptor,
    local: SocketAddr,
    service: Service,
    server: Rc<ConnectionServer>,
    role: ListenerRole,
    /// Whether accepted sockets have the filter of kernel steering.
    filtered: bool,
    /// The connections that the kernel program sends to this worker.
    steered: Option<Queue<Accepted>>,
    phase: watch::Receiver<ProcessPhase>,
}

impl AcceptLoop {
    pub(super) fn new(
        listener: Listener,
        server: Rc<ConnectionServer>,
        phase: watch::Receiver<ProcessPhase>,
    ) -> AcceptLoop {
        let filtered = server.steering.has_programs() && listener.service == Service::Routes;
        let is_steered = filtered && listener.role == ListenerRole::Worker;
        AcceptLoop {
            steered: is_steered.then(|| server.steering.queue()),
            filtered,
            role: listener.role,
            acceptor: Acceptor::new(listener.socket),
            local: listener.address,
            service: listener.service,
            server,
            phase,
        }
    }

    /// Accepts until told to stop, then empties the queue: a connection that the kernel has
    /// completed is not dropped. The order to stop is the drop of `stop`'s sender; `_accepting` is
    /// dropped when the queue is empty.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<()>, _accepting: Sender<()>) {
        let mut stopped = pin!(stop.wait_for(|()| false));
        let mut batch = 0;
        while let Some(accepted) = self.next(stopped.as_mut()).await {
            match accepted {
                Ok(connection) => self.take(connection),
                Err(error) => self.pause(error).await,
            }
            batch += 1;
            if batch % BATCH == 0 {
                rt::yield_now().await;
            }
        }
        self.empty_queue().await;
        if !self.is_kept() {
            self.acceptor.close();
        }
    }

    /// Whether connections may arrive after this loop has ended, since the next process accepts them.
    fn is_kept(&self) -> bool {
        let is_kept = matches!(*self.phase.borrow(), ProcessPhase::Draining { kept: true, .. });
        is_kept && self.role == ListenerRole::Worker
    }

    /// Takes the connections that are still in the queue. The worker waits for this until its drain
    /// timeout.
    async fn empty_queue(&self) {
        let next = || self.acceptor.try_accept();
        let emptied =
            empty(next, |socket| self.take(socket), async |error| self.pause(error).await);
        if let Err(error) = emptied.await {
            let address = self.local;
            tracing::warn!(%address, %error, "connections in the accept queue are reset");
        }
    }

    /// `None` once it is time to stop.
    async fn next(
        &mut self,
        mut stopped: Pin<&mut impl Future>,
    ) -> Option<Result<AcceptedSocket, AcceptError>> {
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            let accepted = self.acceptor.poll_accept(cx).map(Some);
            if let (Poll::Pending, Some(queue)) = (&accepted, &self.steered) {
                queue.found_empty();
            }
            accepted
        })
        .await
    }

    pub(super) fn take(&self, connection: AcceptedSocket) {
        let metrics = &self.server.observer.metrics;
        metrics.connections_accepted.inc();
        let AcceptedSocket { socket, peer } = connection;
        if let Some(queue) = &self.steered {
            queue.took();
        }
        if self.filtered {
            detach_filter(&socket);
        }
        if self.role == ListenerRole::Catcher {
            self.server.steering.land();
        }
        let Some(peer) = peer else {
            // A policy by `source_ip` must not see another address than the client's.
            metrics.connections_refused.inc(RefusedReason::UnknownPeer);
            return;
        };
        let Some(admission) = limits::admit(&self.server, peer) else { return };
        let (service, since) = (self.service, Instant::now());
        let accepted = Accepted { socket, peer, service, since, admission, hello: None };
        let (server, registration) = (Rc::clone(&self.server), self.server.registry.register());
        rt::spawn(conn::serve(server, accepted, registration));
    }

    /// Without descriptors or memory, an immediate retry would only spin.
    async fn pause(&self, error: AcceptError) {
        tracing::warn!(address = %self.local, %error, "cannot accept a connection");
        rt::sleep(EXHAUSTED_PAUSE).await;
    }
}

/// Takes every connection that `next` returns. A shortage ends when connections end and release
/// their descriptors.
async fn empty<T>(
    mut next: impl FnMut() -> Result<Option<T>, AcceptError>,
    mut take: impl FnMut(T),
    mut pause: impl AsyncFnMut(AcceptError),
) -> Result<(), AcceptError> {
    loop {
        match next() {
            Ok(Some(item)) => take(item),
            Ok(None) => return Ok(()),
            Err(error) if error.is_passing() => pause(error).await,
            Err(error) => return Err(error),
        }
    }
}

/// A listener's filter, which connections inherit, drops bare ACKs: bulk to the client would stall.
fn detach_filter(socket: &OwnedFd) {
    // A connection that was accepted before the filter was attached has none.
    let _ = socket2::SockRef::from(socket).detach_filter();
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use rustix::io::Errno;

    use super::*;

    /// The number of connections taken from a queue with these answers, the number of waits, and
    /// the result.
    fn emptied(answers: &[Result<Option<u8>, Errno>]) -> (Vec<u8>, usize, Result<(), AcceptError>) {
        let mut answers = answers.iter().map(|answer| answer.map_err(AcceptError));
        let (mut taken, mut pauses) = (Vec::new(), 0);
        let mut cx = Context::from_waker(Waker::noop());
        let next = || answers.next().expect("it is asked no more at the end");
        let end = {
            let emptying = pin!(empty(next, |item| taken.push(item), async |_| pauses += 1));
            emptying.poll(&mut cx)
        };
        let Poll::Ready(end) = end else { panic!("nothing is waited for") };
        (taken, pauses, end)
    }

    #[test]
    fn a_shortage_does_not_end_the_emptying_of_a_queue() {
        let answers = [Err(Errno::MFILE), Ok(Some(1)), Err(Errno::NOMEM), Ok(Some(2)), Ok(None)];
        assert_eq!(emptied(&answers), (vec![1, 2], 2, Ok(())));
    }

    #[test]
    fn a_socket_that_does_not_listen_ends_the_emptying_of_its_queue() {
        let answers = [Ok(Some(1)), Err(Errno::INVAL)];
        assert_eq!(emptied(&answers), (vec![1], 0, Err(AcceptError(Errno::INVAL))));
    }
}
