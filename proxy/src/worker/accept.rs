//! The accept loop of one listener.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    pin::{Pin, pin},
    rc::Rc,
    sync::{Arc, atomic::AtomicUsize},
    task::Poll,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc::Sender, watch};

use super::limits;
use crate::{
    conn::{self, Accepted, ConnectionServer},
    listener::{Listener, Service},
    observe::RefusedReason,
    rt::{self, Acceptor, Connection},
    steering::{Mode, Queue},
};

/// How long to wait when descriptors or memory have run out.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Accepted in a row before the connections get their turn.
const BATCH: u32 = 32;

pub(super) struct AcceptLoop {
    acceptor: Acceptor,
    local: SocketAddr,
    service: Service,
    server: Rc<ConnectionServer>,
    open_connections: Arc<AtomicUsize>,
    /// Where the kernel program sends connections here.
    steered: Option<Queue<Accepted>>,
}

impl AcceptLoop {
    pub(super) fn new(
        listener: Listener,
        server: Rc<ConnectionServer>,
        open_connections: Arc<AtomicUsize>,
    ) -> AcceptLoop {
        let by_kernel =
            server.steering.mode() == Mode::Kernel && listener.service == Service::Routes;
        AcceptLoop {
            steered: by_kernel.then(|| server.steering.queue()),
            acceptor: Acceptor::new(listener.socket),
            local: listener.address,
            service: listener.service,
            server,
            open_connections,
        }
    }

    /// Accepts until told to stop, and then what still waits in the queue: a connection that the
    /// kernel has completed is not dropped. The order is that `stop` has no sender any more, and
    /// `_accepting` is dropped when all is done.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<()>, _accepting: Sender<()>) {
        let mut stopped = pin!(stop.wait_for(|()| false));
        let mut batch = 0;
        while let Some(accepted) = self.next(stopped.as_mut()).await {
            match accepted {
                Ok(connection) => self.take(connection),
                Err(error) => self.pause(&error).await,
            }
            batch += 1;
            if batch % BATCH == 0 {
                rt::yield_now().await;
            }
        }
        while let Some(connection) = self.acceptor.try_accept() {
            self.take(connection);
        }
        self.acceptor.close();
    }

    /// `None` once it is time to stop.
    async fn next(&mut self, mut stopped: Pin<&mut impl Future>) -> Option<io::Result<Connection>> {
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

    pub(super) fn take(&self, connection: Connection) {
        let metrics = &self.server.observer.metrics;
        metrics.connections_accepted.inc();
        let Connection { socket, peer } = connection;
        if let Some(queue) = &self.steered {
            queue.took();
            detach_filter(&socket);
        }
        let Some(peer) = peer else {
            // A policy by `source_ip` must not take some other address for the client's.
            metrics.connections_refused.inc(RefusedReason::UnknownPeer);
            return;
        };
        let Some(permit) = limits::permit(&self.server, &self.open_connections, peer) else {
            return;
        };
        let (service, since) = (self.service, Instant::now());
        let accepted = Accepted { socket, peer, service, since, permit, hello: None };
        let (server, registration) = (Rc::clone(&self.server), self.server.registry.register());
        rt::spawn(conn::serve(server, accepted, registration));
    }

    /// Out of descriptors or memory, trying again at once would only spin.
    async fn pause(&self, error: &io::Error) {
        tracing::warn!(address = %self.local, %error, "cannot accept a connection");
        rt::sleep(EXHAUSTED_PAUSE).await;
    }
}

/// A listener's filter, which connections inherit, drops bare ACKs: bulk to the client would stall.
fn detach_filter(socket: &OwnedFd) {
    // A connection that was accepted before the filter was attached has none.
    let _ = socket2::SockRef::from(socket).detach_filter();
}
