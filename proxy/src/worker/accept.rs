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
    conn::{self, Accepted},
    listener::{Listener, Service},
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
    context: Rc<conn::Context>,
    open_connections: Arc<AtomicUsize>,
    /// Where the kernel program sends connections here.
    steered: Option<Queue<Accepted>>,
}

impl AcceptLoop {
    pub(super) fn new(
        listener: Listener,
        context: Rc<conn::Context>,
        open_connections: Arc<AtomicUsize>,
    ) -> AcceptLoop {
        let by_kernel = context.desk.mode() == Mode::Kernel && listener.service == Service::Routes;
        AcceptLoop {
            steered: by_kernel.then(|| context.desk.queue()),
            acceptor: Acceptor::new(listener.socket),
            local: listener.address,
            service: listener.service,
            context,
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

    fn take(&self, connection: Connection) {
        self.context.observer.metrics.connections_accepted.inc();
        let Connection { socket, peer } = connection;
        if let Some(queue) = &self.steered {
            queue.took();
            detach_filter(&socket);
        }
        let peer = peer.unwrap_or(self.local);
        let Some(permit) = limits::permit(&self.context, &self.open_connections, peer) else {
            return;
        };
        let (local, service) = (self.local, self.service);
        let accepted =
            Accepted { socket, peer, local, service, since: Instant::now(), permit, hello: None };
        let (context, entry) = (Rc::clone(&self.context), self.context.registry.enter());
        rt::spawn(conn::serve(context, accepted, entry));
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
