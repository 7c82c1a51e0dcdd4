//! The level of the log by an operator's order, for a while.

use std::time::Duration;

use tokio::time::Instant;

use super::control_socket::{LogLevelOrder, LogLevelState};
use crate::observe::{Level, Log, LogSpec};

/// The log, and until when its level is another one than the configured.
#[derive(Debug)]
pub(super) struct LogLevel {
    log: Log,
    until: Option<Instant>,
}

impl LogLevel {
    /// As configured.
    pub(super) fn new(log: Log) -> LogLevel {
        LogLevel { log, until: None }
    }

    /// The log itself.
    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    /// Applies new settings after a reload. A level by order stays.
    pub(super) fn configure(&self, spec: LogSpec) {
        self.log.configure(spec);
    }

    /// Follows an order of a process, and says what the level is now.
    pub(super) fn follow(&mut self, order: LogLevelOrder, process: i32) -> LogLevelState {
        match order {
            LogLevelOrder::Show => {}
            LogLevelOrder::Set { level, for_s } => self.set(level, for_s, process),
            LogLevelOrder::Configured if self.until.is_some() => self.go_back(),
            LogLevelOrder::Configured => {}
        }
        let left = |until: Instant| until.saturating_duration_since(Instant::now()).as_secs();
        LogLevelState {
            level: self.log.level(),
            configured: self.log.configured_level(),
            left_s: self.until.map(left),
        }
    }

    /// Waits until the ordered level is over; forever if none is ordered. Cancel-safe.
    pub(super) async fn over(&self) {
        match self.until {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Goes back to the configured level.
    pub(super) fn go_back(&mut self) {
        self.until = None;
        self.log.order_level(None);
        tracing::info!(level = self.log.level().as_str(), "the log has its configured level again");
    }

    fn set(&mut self, level: Level, for_s: u64, process: i32) {
        let say = || {
            let level = level.as_str();
            tracing::info!(level, for_s, process, "an operator has set the level of the log");
        };
        // Of two levels, the more verbose one shows the line.
        let is_quieter = level > self.log.level();
        if is_quieter {
            say();
        }
        self.log.order_level(Some(level));
        self.until = Instant::now().checked_add(Duration::from_secs(for_s));
        if !is_quieter {
            say();
        }
    }
}
