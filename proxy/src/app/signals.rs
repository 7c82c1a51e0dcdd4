//! The signals that the process acts on.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::handover::REPLACED;

/// An order that came as a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignalOrder {
    /// SIGTERM or SIGINT: drain and exit.
    Stop,
    /// SIGHUP: load the configuration again.
    Reload,
    /// SIGUSR2: another process has replaced this one.
    Replaced,
}

/// Handlers for all of them. From the moment they exist, none ends the process by itself.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    replaced: Signal,
}

impl Signals {
    /// Needs a tokio runtime with I/O.
    pub(super) fn new() -> io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            replaced: signal(SignalKind::from_raw(REPLACED.as_raw()))?,
        })
    }

    /// Awaits the next order. Cancel-safe.
    pub(super) async fn next(&mut self) -> SignalOrder {
        tokio::select! {
            _ = self.terminate.recv() => SignalOrder::Stop,
            _ = self.interrupt.recv() => SignalOrder::Stop,
            _ = self.hangup.recv() => SignalOrder::Reload,
            _ = self.replaced.recv() => SignalOrder::Replaced,
        }
    }
}
