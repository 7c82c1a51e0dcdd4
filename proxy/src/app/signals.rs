//! The signals that the process acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::handover::REPLACED;

/// An order that came as a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalOrder {
    /// SIGTERM, SIGINT or SIGQUIT, by its name: drain and exit.
    Stop(&'static str),
    /// SIGHUP: load the configuration again.
    Reload,
    /// SIGUSR1, by which log rotation makes nginx open its log files again. This process has none.
    ReopenLogs,
    /// SIGUSR2: another process, of a former version, says that it has replaced this one.
    Replaced,
}

/// Handlers for all of them. From the moment they exist, none ends the process by itself.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    reopen: Signal,
    replaced: Signal,
}

impl Signals {
    /// Needs a tokio runtime with I/O.
    pub(super) fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            reopen: signal(SignalKind::user_defined1())?,
            replaced: signal(SignalKind::from_raw(REPLACED.as_raw()))?,
        })
    }

    /// Awaits the next order. Cancel-safe.
    pub(super) async fn next(&mut self) -> SignalOrder {
        tokio::select! {
            _ = self.terminate.recv() => SignalOrder::Stop("SIGTERM"),
            _ = self.interrupt.recv() => SignalOrder::Stop("SIGINT"),
            _ = self.quit.recv() => SignalOrder::Stop("SIGQUIT"),
            _ = self.hangup.recv() => SignalOrder::Reload,
            _ = self.reopen.recv() => SignalOrder::ReopenLogs,
            _ = self.replaced.recv() => SignalOrder::Replaced,
        }
    }
}
