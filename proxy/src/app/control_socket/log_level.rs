//! The order about the level of the log, and its answer, as parts of lines.

use std::time::Duration;

use crate::observe::Level;

/// The levels that can be ordered.
const LEVELS: [Level; 5] = [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

/// Stands for the levels that the configuration has.
const CONFIGURED: &str = "configured";

/// The longest time for which a level can be ordered.
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// An order about the level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogLevelOrder {
    /// Say what it is.
    Show,
    /// Set it for so many seconds: at least one, at most [`LONGEST`].
    Set { level: Level, for_s: u64 },
    /// Go back to the configured one.
    Configured,
}

/// The level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LogLevelState {
    /// In use.
    pub level: Level,
    /// In the configuration.
    pub configured: Level,
    /// How long the ordered level still lasts, in seconds; `None` if none is ordered.
    pub left_s: Option<u64>,
}

impl LogLevelOrder {
    /// The part of the line behind the verb: `debug 600`.
    pub(super) fn object(self) -> String {
        match self {
            LogLevelOrder::Show => String::new(),
            LogLevelOrder::Set { level, for_s } => format!(" {} {for_s}", level.as_str()),
            LogLevelOrder::Configured => format!(" {CONFIGURED}"),
        }
    }

    pub(super) fn parse(object: &str) -> Option<LogLevelOrder> {
        match object {
            "" => return Some(LogLevelOrder::Show),
            CONFIGURED => return Some(LogLevelOrder::Configured),
            _ => {}
        }
        let (name, for_s) = object.split_once(' ')?;
        let for_s = for_s.parse().ok().filter(|for_s| (1..=LONGEST.as_secs()).contains(for_s))?;
        Some(LogLevelOrder::Set { level: level(name)?, for_s })
    }
}

impl LogLevelState {
    /// `debug info 599`; the last word is `-` if no level is ordered.
    pub(super) fn line(self) -> String {
        let left = self.left_s.map_or_else(|| "-".to_owned(), |left_s| left_s.to_string());
        format!("{} {} {left}", self.level.as_str(), self.configured.as_str())
    }

    pub(super) fn parse(line: &str) -> Option<LogLevelState> {
        let mut words = line.split(' ');
        let (now, configured, left) = (words.next()?, words.next()?, words.next()?);
        let left_s = match left {
            "-" => None,
            seconds => Some(seconds.parse().ok()?),
        };
        let [level, configured] = [level_or_off(now)?, level_or_off(configured)?];
        words.next().is_none().then_some(LogLevelState { level, configured, left_s })
    }
}

fn level(name: &str) -> Option<Level> {
    LEVELS.into_iter().find(|level| level.as_str() == name)
}

fn level_or_off(name: &str) -> Option<Level> {
    level(name).or_else(|| (name == Level::Off.as_str()).then_some(Level::Off))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lasts_from_a_second_to_a_day() {
        let parsed = |object| LogLevelOrder::parse(object);
        let debug = |for_s| Some(LogLevelOrder::Set { level: Level::Debug, for_s });
        assert_eq!(parsed("debug 1"), debug(1));
        assert_eq!(parsed("debug 86400"), debug(86_400));
        for other in ["debug", "debug 0", "debug 86401", "debug -1", "off 1", "loud 1", "debug 1 1"]
        {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn a_state_comes_back_from_its_line() {
        let ordered =
            LogLevelState { level: Level::Debug, configured: Level::Off, left_s: Some(599) };
        let configured = LogLevelState { level: Level::Off, left_s: None, ..ordered };
        for state in [ordered, configured] {
            assert_eq!(LogLevelState::parse(&state.line()), Some(state));
        }
        for line in ["", "info", "info info", "info info x", "info info - -", "x info -"] {
            assert_eq!(LogLevelState::parse(line), None, "{line}");
        }
    }
}
