//! The side of the process that serves: it waits for orders.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};

use super::{
    line,
    order::{Acknowledgment, Order, refusal},
    peer::{PeerProcess, is_trusted, own_uid},
    runtime_dir,
};
use crate::{
    control_call::{self, ControlCall, ControlCaller, ControlCalls},
    observe::Metrics,
};

/// Between two tries to accept while no descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// For the answers that are on their way when the process ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How many connections may wait for an order at a time; a process that takes the place of this one
/// waits until it is ready.
const MAX_CONNECTIONS: usize = 8;

/// An order, to be answered once it is followed, or with the reason why it is not.
pub(in super::super) type ReceivedOrder = ControlCall<OrderOf, OrderAnswer>;

/// What was done, or why an order is not followed.
pub(in super::super) type OrderAnswer = Result<Acknowledgment, String>;

/// An order, and the process that gave it.
#[derive(Debug)]
pub(in super::super) struct OrderOf {
    pub(in super::super) order: Order,
    /// As the kernel knows it; 0 if it lives in a namespace that this process does not see.
    pub(in super::super) process: i32,
}

/// Listens for orders. The socket leaves the directory when this is dropped.
#[derive(Debug)]
pub(in super::super) struct ControlSocket {
    path: PathBuf,
    orders: ControlCalls<OrderOf, OrderAnswer>,
    task: JoinHandle<()>,
    /// A permit for each connection; taken from an order until its answer is sent.
    answers: Arc<Semaphore>,
}

/// Listens in the runtime directory. Needs a tokio runtime with I/O and time.
///
/// If that is impossible, says what it costs: `--replace` then works by signal alone, no worker can be
/// drained, and no user's sessions can be ended.
/// `admin` is the administrative address, which commands find there.
pub(in super::super) fn listen(
    metrics: &Metrics,
    admin: Option<SocketAddr>,
) -> Option<ControlSocket> {
    let socket = open();
    if let Some(socket) = &socket {
        socket.record_admin_address(admin);
    }
    metrics.set_control_socket(socket.as_ref().map(|socket| &*socket.path));
    socket
}

fn open() -> Option<ControlSocket> {
    let Some(directory) = runtime_dir::path() else {
        tracing::warn!(
            "`drain` and `sessions end` will not work, and `run --replace` will tell this process to \
             drain by signal, without proof of its identity: there is no runtime directory; set RUNTIME_DIRECTORY or \
             XDG_RUNTIME_DIR"
        );
        return None;
    };
    ControlSocket::open(&directory)
        .inspect_err(|error| {
            tracing::warn!(
                directory = %directory.display(),
                %error,
                "`drain` and `sessions end` will not work, and `run --replace` will tell this \
                 process to drain by signal, without proof of its identity: the runtime directory cannot be used; set \
                 RUNTIME_DIRECTORY to another"
            );
        })
        .ok()
}

impl ControlSocket {
    fn open(directory: &Path) -> io::Result<ControlSocket> {
        runtime_dir::make(directory)?;
        runtime_dir::remove_stale(directory);
        let path = runtime_dir::socket(directory, std::process::id());
        if runtime_dir::is_dead(&path) {
            // A former process had this ID.
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        let (caller, orders) = control_call::channel(1);
        let answers = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let task = tokio::spawn(accept_loop(listener, caller, Arc::clone(&answers)));
        Ok(ControlSocket { path, orders, task, answers })
    }

    fn record_admin_address(&self, admin: Option<SocketAddr>) {
        if let Some(directory) = self.path.parent() {
            runtime_dir::record_admin_address(directory, std::process::id(), admin);
        }
    }

    /// Waits until the answers to all orders are sent: the process may end right behind one.
    pub(in super::super) async fn send_answers(socket: Option<ControlSocket>) {
        let Some(socket) = socket else { return };
        let all = u32::try_from(MAX_CONNECTIONS).unwrap_or(u32::MAX);
        let answers = Arc::clone(&socket.answers);
        // An order that is not followed any more is answered by that.
        drop(socket);
        let _ = tokio::time::timeout(LAST_ANSWERS, answers.acquire_many(all)).await;
    }

    /// Awaits the next order; forever if there is no socket. Cancel-safe.
    pub(in super::super) async fn next(socket: &mut Option<ControlSocket>) -> ReceivedOrder {
        if let Some(socket) = socket
            && let Some(order) = socket.orders.next().await
        {
            return order;
        }
        std::future::pending().await
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        self.task.abort();
        self.record_admin_address(None);
        let _ = fs::remove_file(&self.path);
    }
}

type OrderCaller = ControlCaller<OrderOf, OrderAnswer>;

async fn accept_loop(listener: UnixListener, orders: OrderCaller, answers: Arc<Semaphore>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // It is never closed.
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, orders.clone(), Arc::clone(&answers), slot));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections on the control socket");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn serve(
    stream: UnixStream,
    orders: OrderCaller,
    answers: Arc<Semaphore>,
    _slot: OwnedSemaphorePermit,
) {
    let peer = match PeerProcess::of(&stream) {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "cannot identify a process that connected to the control \
                socket");
            return;
        }
    };
    let (process, user) = (peer.id.unwrap_or(0), peer.uid);
    let answered = if is_trusted(user, own_uid()) {
        answer(&stream, &orders, &answers, process).await
    } else {
        let reason = "only root and the same user may give orders";
        tracing::warn!(process, user, reason, "a process may not give orders to this one");
        line::send(&stream, &refusal(reason)).await
    };
    if let Err(error) = answered {
        tracing::info!(process, %error, "a process that was to give an order disconnected");
    }
}

/// The order comes once the process that gives it is ready, however long that takes.
async fn answer(
    stream: &UnixStream,
    orders: &OrderCaller,
    answers: &Semaphore,
    process: i32,
) -> io::Result<()> {
    let Some(order) = Order::parse(&line::receive(stream).await?) else {
        return line::send(stream, &refusal("unknown order")).await;
    };
    // There is one for each connection.
    let _answering = answers.acquire().await;
    let time = order.time();
    let followed = orders.call(OrderOf { order, process }, time).await;
    match followed.map_err(|error| error.to_string()).flatten() {
        Ok(acknowledgment) => line::send(stream, &acknowledgment.line()).await,
        Err(reason) => line::send(stream, &refusal(&reason)).await,
    }
}

#[cfg(test)]
mod tests;
