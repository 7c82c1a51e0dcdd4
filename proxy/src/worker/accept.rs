//! The accept loop of one listener.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::sync::{Notify, futures::Notified};

use crate::{
    conn::{self, Accepted},
    listener::{Listener, Service},
    observe::{ConnectionRecord, RefusedReason},
    rt::{self, Acceptor, Connection},
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
}

impl AcceptLoop {
    pub(super) fn new(
        listener: Listener,
        context: Rc<conn::Context>,
        open_connections: Arc<AtomicUsize>,
    ) -> AcceptLoop {
        AcceptLoop {
            acceptor: Acceptor::new(listener.socket),
            local: listener.address,
            service: listener.service,
            context,
            open_connections,
        }
    }

    /// Accepts until told to stop, and then what still waits in the queue: a connection that the
    /// kernel has completed is not dropped.
    pub(super) async fn run(mut self, stop: Rc<Notify>) {
        let mut stopped = pin!(stop.notified());
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
    }

    /// `None` once it is time to stop.
    async fn next(
        &mut self,
        mut stopped: Pin<&mut Notified<'_>>,
    ) -> Option<io::Result<Connection>> {
        poll_fn(|cx| {
            if stopped.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            self.acceptor.poll_accept(cx).map(Some)
        })
        .await
    }

    fn take(&self, connection: Connection) {
        let metrics = &self.context.observer.metrics;
        metrics.connections_accepted.inc();
        let peer = connection.peer.unwrap_or(self.local);
        let Some(permit) = self.permit(peer) else { return };
        let accepted =
            Accepted { socket: connection.socket, peer, local: self.local, service: self.service };
        let context = Rc::clone(&self.context);
        rt::spawn(async move {
            conn::serve(&context, accepted).await;
            drop(permit);
        });
    }

    fn permit(&self, peer: SocketAddr) -> Option<Permit> {
        let front = self.context.front();
        let settings = &front.settings;
        let refused = if self.context.registry.len() >= settings.max_connections_per_worker {
            RefusedReason::WorkerLimit
        } else if self.open_connections.load(Ordering::Relaxed) >= settings.max_connections {
            RefusedReason::GlobalLimit
        } else {
            return Some(Permit::new(&self.open_connections));
        };
        self.context.observer.metrics.connections_refused.inc(refused);
        self.context.observer.log_connection(&ConnectionRecord {
            peer,
            sni: None,
            reason: match refused {
                RefusedReason::WorkerLimit => "portcullis.max_connections_per_worker is reached",
                RefusedReason::GlobalLimit => "portcullis.max_connections is reached",
            },
            alert: None,
            tls_version: None,
            client_certificate: None,
        });
        None
    }

    /// Out of descriptors or memory, trying again at once would only spin.
    async fn pause(&self, error: &io::Error) {
        tracing::warn!(address = %self.local, %error, "cannot accept a connection");
        rt::sleep(EXHAUSTED_PAUSE).await;
    }
}

/// One of the connections that all workers together may have.
struct Permit(Arc<AtomicUsize>);

impl Permit {
    fn new(open: &Arc<AtomicUsize>) -> Permit {
        open.fetch_add(1, Ordering::Relaxed);
        Permit(Arc::clone(open))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
