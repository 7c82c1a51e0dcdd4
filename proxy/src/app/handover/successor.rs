//! The side of the process that serves: it waits for one that takes its place.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    task::JoinHandle,
};

use super::{ACKNOWLEDGED, ORDER, REFUSED, is_trusted, line, own_uid, runtime_dir};
use crate::control_call::{self, ControlCall, ControlCaller, ControlCalls};

/// The control loop is never busy for nearly as long.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries to accept while no descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// The order to drain because another process serves, to be answered once it is followed.
pub(in super::super) type SuccessorOrder = ControlCall<SuccessorProcess, ()>;

/// The process that gave an order, as the kernel knows it.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct SuccessorProcess {
    /// 0 if it lives in a namespace that this process does not see.
    pub(in super::super) id: i32,
}

/// Listens for a successor. The socket leaves the directory when this is dropped.
#[derive(Debug)]
pub(in super::super) struct SuccessorSocket {
    path: PathBuf,
    orders: ControlCalls<SuccessorProcess, ()>,
    task: JoinHandle<()>,
}

/// Listens in the runtime directory. Needs a tokio runtime with I/O and time.
///
/// If that is impossible, says what it costs: `--replace` then works by signal alone.
pub(in super::super) fn listen() -> Option<SuccessorSocket> {
    let Some(directory) = runtime_dir::path() else {
        tracing::warn!(
            "`run --replace` will tell this process to drain by signal, without proof of its \
             identity: there is no runtime directory; set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR"
        );
        return None;
    };
    SuccessorSocket::open(&directory)
        .inspect_err(|error| {
            tracing::warn!(
                directory = %directory.display(),
                %error,
                "`run --replace` will tell this process to drain by signal, without proof of its \
                 identity: the runtime directory cannot be used; set RUNTIME_DIRECTORY to another"
            );
        })
        .ok()
}

impl SuccessorSocket {
    fn open(directory: &Path) -> io::Result<SuccessorSocket> {
        runtime_dir::make(directory)?;
        runtime_dir::remove_stale(directory);
        let path = runtime_dir::socket(directory, std::process::id());
        if runtime_dir::is_dead(&path) {
            // A former process had this ID.
            fs::remove_file(&path)?;
        }
        let listener = UnixListener::bind(&path)?;
        let (caller, orders) = control_call::channel(1);
        let task = tokio::spawn(accept_loop(listener, caller));
        Ok(SuccessorSocket { path, orders, task })
    }

    /// Awaits the order of a successor; forever if there is no socket. Cancel-safe.
    pub(in super::super) async fn next(socket: &mut Option<SuccessorSocket>) -> SuccessorOrder {
        if let Some(socket) = socket
            && let Some(order) = socket.orders.next().await
        {
            return order;
        }
        std::future::pending().await
    }
}

impl Drop for SuccessorSocket {
    fn drop(&mut self) {
        self.task.abort();
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept_loop(listener: UnixListener, orders: ControlCaller<SuccessorProcess, ()>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, orders.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections on the socket for `run \
                    --replace`");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
    }
}

async fn serve(stream: UnixStream, orders: ControlCaller<SuccessorProcess, ()>) {
    let peer = match stream.peer_cred() {
        Ok(peer) => peer,
        Err(error) => {
            tracing::warn!(%error, "cannot identify a process that connected to the socket for \
                `run --replace`");
            return;
        }
    };
    let (process, user) = (peer.pid().unwrap_or(0), peer.uid());
    let answered = match refusal(user, own_uid()) {
        None => answer(&stream, &orders, SuccessorProcess { id: process }).await,
        Some(reason) => {
            tracing::warn!(process, user, reason, "a process may not replace this one");
            line::send(&stream, &format!("{REFUSED}{reason}")).await
        }
    };
    if let Err(error) = answered {
        tracing::info!(process, %error, "the process that was to replace this one disconnected");
    }
}

fn refusal(peer_uid: u32, own_uid: u32) -> Option<&'static str> {
    (!is_trusted(peer_uid, own_uid)).then_some("only root and the same user may replace it")
}

/// The order comes once the successor is ready, however long that takes.
async fn answer(
    stream: &UnixStream,
    orders: &ControlCaller<SuccessorProcess, ()>,
    process: SuccessorProcess,
) -> io::Result<()> {
    if line::receive(stream).await? != ORDER {
        return line::send(stream, &format!("{REFUSED}unknown order")).await;
    }
    match orders.call(process, ANSWER_TIMEOUT).await {
        Ok(()) => line::send(stream, ACKNOWLEDGED).await,
        Err(error) => line::send(stream, &format!("{REFUSED}{error}")).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::handover::testing::{Directory, block_on};

    #[test]
    fn an_order_reaches_the_control_loop_and_is_acknowledged() {
        let directory = Directory::new("order");
        block_on(async {
            let mut socket = Some(SuccessorSocket::open(&directory.0).unwrap());
            let path = runtime_dir::socket(&directory.0, std::process::id());
            let stream = UnixStream::connect(&path).await.unwrap();
            line::send(&stream, ORDER).await.unwrap();
            SuccessorSocket::next(&mut socket).await.answer(());
            assert_eq!(line::receive(&stream).await.unwrap(), ACKNOWLEDGED);
            drop(socket);
            assert!(!path.exists());
        });
    }

    #[test]
    fn an_order_of_another_protocol_is_refused() {
        let directory = Directory::new("unknown");
        block_on(async {
            let _socket = SuccessorSocket::open(&directory.0).unwrap();
            let path = runtime_dir::socket(&directory.0, std::process::id());
            let stream = UnixStream::connect(&path).await.unwrap();
            line::send(&stream, "portcullis/9 drain").await.unwrap();
            let answer = line::receive(&stream).await.unwrap();
            assert_eq!(answer, "portcullis/1 refused unknown order");
        });
    }

    #[test]
    fn another_user_is_refused_by_its_credentials() {
        assert!(refusal(1001, 1000).is_some());
        assert_eq!(refusal(1000, 1000), None);
        assert_eq!(refusal(0, 1000), None);
    }

    #[test]
    fn the_socket_of_a_dead_process_with_the_same_id_is_replaced() {
        let directory = Directory::new("reused");
        let path = runtime_dir::socket(&directory.0, std::process::id());
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        block_on(async {
            let _socket = SuccessorSocket::open(&directory.0).unwrap();
            assert!(SuccessorSocket::open(&directory.0).is_err(), "the living one stays");
            assert!(UnixStream::connect(&path).await.is_ok());
        });
    }
}
