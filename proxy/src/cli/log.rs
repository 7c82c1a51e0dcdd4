//! `portcullis log`: shows the level of a running process's log, or sets it for a while.

use std::{process::ExitCode, time::Duration};

use clap::ValueEnum;

use super::{admin_address::AdminAddress, fail, not_ordered, print};
use crate::{
    app::{LONGEST_LOG_LEVEL, LogLevelOrder, LogLevelState},
    config,
    observe::Level,
};

#[derive(Debug, clap::Args)]
pub(super) struct LogCommand {
    #[command(flatten)]
    admin: AdminAddress,
    /// The level of all lines, those of requests too; `configured` goes back to the configuration's
    /// levels. Without one, shows the level.
    level: Option<LevelArgument>,
    /// How long the level lasts; after that the log has its configured level again.
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = duration)]
    lasts: Duration,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LevelArgument {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
    Configured,
}

impl LogCommand {
    pub(super) fn run(self) -> ExitCode {
        let order = self.order();
        let state = self.admin.process().and_then(|process| {
            process.log_level(order).map_err(|error| not_ordered(&process, &error))
        });
        match state {
            Ok(state) => print(&text(state)),
            Err(problem) => fail(&problem),
        }
    }

    fn order(&self) -> LogLevelOrder {
        let level = match self.level {
            None => return LogLevelOrder::Show,
            Some(LevelArgument::Configured) => return LogLevelOrder::Configured,
            Some(LevelArgument::Error) => Level::Error,
            Some(LevelArgument::Warn) => Level::Warn,
            Some(LevelArgument::Info) => Level::Info,
            Some(LevelArgument::Debug) => Level::Debug,
            Some(LevelArgument::Trace) => Level::Trace,
        };
        LogLevelOrder::Set { level, for_s: self.lasts.as_secs() }
    }
}

fn text(state: LogLevelState) -> String {
    let LogLevelState { level, configured, left_s } = state;
    let (level, configured) = (level.as_str(), configured.as_str());
    match left_s {
        Some(left_s) => format!("{level}, for {left_s} s more; configured: {configured}\n"),
        None => format!("{level}, as configured\n"),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = config::parse_duration(text)?;
    match duration >= Duration::from_secs(1) && duration <= LONGEST_LOG_LEVEL {
        true => Ok(duration),
        false => Err("a level lasts from 1s to 24h".to_owned()),
    }
}
