//! The side that gives an order.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use tokio::{net::UnixStream, runtime::Builder};

use super::{
    line,
    log_level::{LogLevelOrder, LogLevelState},
    order::{Acknowledgment, Order},
    peer::{PeerProcess, ROOT, is_trusted, own_uid},
    runtime_dir,
};
use crate::identity::ended_users::UserSelector;

/// How much longer than the process's own limit an answer may take.
const MORE_TIME: Duration = Duration::from_secs(5);

/// A connection to a running process, which has shown its ID.
#[derive(Debug)]
pub(in super::super) struct ControlConnection {
    stream: UnixStream,
    peer: PeerProcess,
}

impl ControlConnection {
    /// Connects to a process by its ID; `None` if it has no socket. Without a directory, looks where
    /// the environment says.
    ///
    /// Fails if another process has the socket.
    pub(in super::super) async fn to_process(
        directory: Option<&Path>,
        id: i32,
    ) -> anyhow::Result<Option<ControlConnection>> {
        let Some(directory) = directory.map(Path::to_owned).or_else(runtime_dir::path) else {
            return Ok(None);
        };
        let path = runtime_dir::socket(&directory, id.unsigned_abs());
        match UnixStream::connect(&path).await {
            Ok(stream) => ControlConnection::with(stream, id).map(Some),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => {
                Err(error).with_context(|| format!("cannot connect to {}", path.display()))
            }
        }
    }

    fn with(stream: UnixStream, id: i32) -> anyhow::Result<ControlConnection> {
        let peer = PeerProcess::of(&stream)?;
        peer.check_id(id)?;
        Ok(ControlConnection { stream, peer })
    }

    /// Fails if the process belongs to a user whom this process does not trust.
    pub(in super::super) fn check_user(&self) -> anyhow::Result<()> {
        let (uid, own_uid) = (self.peer.uid, own_uid());
        ensure!(
            is_trusted(uid, own_uid),
            "it runs as user {uid}, and this process as user {own_uid}"
        );
        Ok(())
    }

    /// Gives an order. Fails if it is not followed, or not in time.
    pub(in super::super) async fn order(&self, order: &Order) -> anyhow::Result<Acknowledgment> {
        let answered = tokio::time::timeout(order.time() + MORE_TIME, async {
            let sent = line::send(&self.stream, &order.line()).await;
            // A process that refuses all orders may answer and close first.
            match (line::receive_last(&self.stream).await, sent) {
                (Err(_), Err(error)) => Err(error),
                (answer, _) => answer,
            }
        });
        let answer = answered.await.context("no answer")??;
        order.read_answer(&answer).map_err(anyhow::Error::msg)
    }
}

/// Nobody listens there, or nobody ever did.
fn is_absent(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory | ConnectionRefused)
}

/// A process that an operator gives orders to, from another process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunningProcess {
    /// Its ID.
    pub id: u32,
    /// Where it listens for orders.
    pub socket: PathBuf,
}

impl RunningProcess {
    /// Orders it to drain a worker, or to use it again.
    pub(crate) fn drain_worker(&self, worker: u32, drained: bool) -> anyhow::Result<()> {
        self.order(&Order::DrainWorker { worker, drained }).map(|_| ())
    }

    /// Finds the process of this user that serves, or, for root, the one in the usual place. `id` says
    /// which one, if there are several.
    pub(crate) fn find(id: Option<u32>) -> anyhow::Result<RunningProcess> {
        let directory = runtime_dir::path().context(
            "nothing says where running processes take orders: set RUNTIME_DIRECTORY or \
             XDG_RUNTIME_DIR as for the process",
        )?;
        let socket = |id| RunningProcess { id, socket: runtime_dir::socket(&directory, id) };
        if let Some(id) = id {
            return Ok(socket(id));
        }
        let mut found: Vec<RunningProcess> =
            runtime_dir::processes(&directory).into_iter().map(socket).collect();
        if found.len() > 1 {
            // A process that drains has left its place to another.
            found.retain(|process| process.order(&Order::TellWhetherServing).is_ok());
        }
        let ids: Vec<String> = found.iter().map(|process| process.id.to_string()).collect();
        match (found.pop(), found.is_empty()) {
            (Some(process), true) => Ok(process),
            (None, _) => bail!("no process takes orders in {}", directory.display()),
            _ => bail!("several processes serve: {}; name one by --pid", ids.join(", ")),
        }
    }

    /// Orders it to load its configuration again; gives the generation that is in use then.
    pub(crate) fn reload(&self) -> anyhow::Result<u64> {
        match self.order(&Order::Reload)? {
            Acknowledgment::Reloaded { generation } => Ok(generation),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// Orders it to start its program again and to leave its place to the new process; gives the ID of
    /// that.
    pub(crate) fn upgrade(&self) -> anyhow::Result<u32> {
        match self.order(&Order::Upgrade)? {
            Acknowledgment::Upgraded { process } => Ok(process),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// Orders it to end all sessions of a user; gives the number of those that it knew.
    pub(crate) fn end_sessions(&self, user: &UserSelector) -> anyhow::Result<usize> {
        match self.order(&Order::EndSessions(user.clone()))? {
            Acknowledgment::SessionsEnded(ended) => Ok(ended),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    /// Asks it for the level of its log, or orders another one for a while.
    pub(crate) fn log_level(&self, order: LogLevelOrder) -> anyhow::Result<LogLevelState> {
        match self.order(&Order::LogLevel(order))? {
            Acknowledgment::LogLevel(state) => Ok(state),
            other => bail!("unexpected answer: {other:?}"),
        }
    }

    fn order(&self, order: &Order) -> anyhow::Result<Acknowledgment> {
        let id = i32::try_from(self.id).context("not a process ID")?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let stream = UnixStream::connect(&self.socket)
                .await
                .with_context(|| format!("cannot connect to {}", self.socket.display()))?;
            let connection = ControlConnection::with(stream, id)?;
            // Root may give orders to everybody.
            if own_uid() != ROOT {
                connection.check_user()?;
            }
            connection.order(order).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::control_socket::testing::block_on;

    #[test]
    fn an_order_that_is_refused_is_an_error_with_its_reason() {
        block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            let own_id = std::process::id().cast_signed();
            let connection = ControlConnection::with(near, own_id).unwrap();
            let (ordered, ()) = tokio::join!(connection.order(&Order::Leave), async {
                assert_eq!(line::receive(&far).await.unwrap(), "portcullis/1 drain");
                line::send(&far, "portcullis/1 refused because").await.unwrap();
            });
            assert_eq!(ordered.unwrap_err().to_string(), "because");
        });
    }

    #[test]
    fn a_socket_of_another_process_gets_no_order() {
        block_on(async {
            let (near, _far) = UnixStream::pair().unwrap();
            let error = ControlConnection::with(near, 1).unwrap_err().to_string();
            assert!(error.contains("has the socket of process 1"), "{error}");
        });
    }
}
