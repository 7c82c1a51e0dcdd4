//! The lines of the protocol.

use std::{net::SocketAddr, time::Duration};

use super::log_level::{LogLevelOrder, LogLevelState};
use crate::identity::ended_users::UserSelector;

/// Begins every line.
const PROTOCOL: &str = "portcullis/1 ";

/// An order to a running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// Another process serves at the same addresses: drain and exit.
    Leave,
    /// Give a worker no new connections, or give it connections again.
    DrainWorker { worker: u32, drained: bool },
    /// End all sessions of a user.
    EndSessions(UserSelector),
    /// Tell what is known of the health of endpoints.
    TellHealth,
    /// Tell where clients can connect.
    TellAddresses,
    /// Say the level of the log, or set it for a while.
    LogLevel(LogLevelOrder),
    /// Load the configuration again, and say what came of it.
    Reload,
    /// Start the program again, and leave once the new process is ready.
    Upgrade,
    /// The process that gives the order was to take the place of this one, and cannot.
    CannotReplace(String),
    /// Say whether this process serves, and is not about to end.
    TellWhetherServing,
}

/// The longest time that the answers to most orders take.
const USUAL_TIME: Duration = Duration::from_secs(5);
/// The process that leaves waits for the service manager and for its disk.
const LEAVE_TIME: Duration = Duration::from_secs(20);
/// A load of many routes on a busy machine may take half a minute. systemd waits for 90 seconds.
const RELOAD_TIME: Duration = Duration::from_secs(80);
/// What is more than the time of the new process.
const UPGRADE_TIME: Duration = Duration::from_secs(70);
/// The longest reason, in bytes, so that a line has a limit.
pub(super) const MAX_REASON: usize = 8 << 10;

/// What a process did on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Acknowledgment {
    /// It drains. `is_state_written` says that all it knows of sign-in is in the state file.
    Draining {
        is_state_written: bool,
    },
    Done,
    /// It ended so many sessions that it knew.
    SessionsEnded(usize),
    /// What is known of endpoints, in a line.
    Health(String),
    /// Where clients can connect.
    Addresses(Vec<SocketAddr>),
    /// The level of the log.
    LogLevel(LogLevelState),
    /// The configuration is in use.
    Reloaded {
        generation: u64,
    },
    /// This process serves now.
    Upgraded {
        process: u32,
    },
}

impl Order {
    /// The line that gives it.
    pub(super) fn line(&self) -> String {
        let order = match self {
            Order::Leave => "drain".to_owned(),
            Order::TellHealth => "tell-health".to_owned(),
            Order::TellAddresses => "tell-addresses".to_owned(),
            Order::LogLevel(order) => format!("log-level{}", order.object()),
            Order::Reload => "reload".to_owned(),
            Order::Upgrade => "upgrade".to_owned(),
            Order::TellWhetherServing => "tell-whether-serving".to_owned(),
            Order::CannotReplace(reason) => format!("cannot-replace {}", in_one_line(reason)),
            Order::DrainWorker { worker, drained: true } => format!("drain-worker {worker}"),
            Order::DrainWorker { worker, drained: false } => format!("undrain-worker {worker}"),
            Order::EndSessions(user) => {
                let kind = match user {
                    UserSelector::Id(_) => "user",
                    UserSelector::Email(_) => "email",
                };
                // In JSON, no character ends the line.
                format!("end-sessions {kind} {}", serde_json::Value::from(user.text()))
            }
        };
        format!("{PROTOCOL}{order}")
    }

    /// `None` for a line of another protocol, and for a user whom nobody can be.
    pub(super) fn parse(line: &str) -> Option<Order> {
        let order = line.strip_prefix(PROTOCOL)?;
        let (verb, object) = order.split_once(' ').unwrap_or((order, ""));
        let worker = || object.parse().ok();
        match verb {
            "drain" if order == verb => Some(Order::Leave),
            "tell-health" if order == verb => Some(Order::TellHealth),
            "tell-addresses" if order == verb => Some(Order::TellAddresses),
            "reload" if order == verb => Some(Order::Reload),
            "upgrade" if order == verb => Some(Order::Upgrade),
            "tell-whether-serving" if order == verb => Some(Order::TellWhetherServing),
            "cannot-replace" => serde_json::from_str(object).ok().map(Order::CannotReplace),
            "drain-worker" => Some(Order::DrainWorker { worker: worker()?, drained: true }),
            "undrain-worker" => Some(Order::DrainWorker { worker: worker()?, drained: false }),
            "log-level" => LogLevelOrder::parse(object).map(Order::LogLevel),
            "end-sessions" => user(object).map(Order::EndSessions),
            _ => None,
        }
    }

    /// How long the process may take to answer.
    pub(super) fn time(&self) -> Duration {
        match self {
            Order::Leave => LEAVE_TIME,
            Order::Reload => RELOAD_TIME,
            Order::Upgrade => UPGRADE_TIME,
            _ => USUAL_TIME,
        }
    }

    /// Reads the answer to it: what was done, or why it was not followed.
    pub(super) fn read_answer(&self, line: &str) -> Result<Acknowledgment, String> {
        let acknowledgment = Acknowledgment::parse(line);
        let is_expected = match &acknowledgment {
            Some(Acknowledgment::Draining { .. }) => matches!(self, Order::Leave),
            Some(Acknowledgment::Done) => matches!(
                self,
                Order::DrainWorker { .. } | Order::CannotReplace(_) | Order::TellWhetherServing
            ),
            Some(Acknowledgment::Reloaded { .. }) => *self == Order::Reload,
            Some(Acknowledgment::Upgraded { .. }) => *self == Order::Upgrade,
            Some(Acknowledgment::SessionsEnded(_)) => matches!(self, Order::EndSessions(_)),
            Some(Acknowledgment::Health(_)) => matches!(self, Order::TellHealth),
            Some(Acknowledgment::Addresses(_)) => matches!(self, Order::TellAddresses),
            Some(Acknowledgment::LogLevel(_)) => matches!(self, Order::LogLevel(_)),
            None => false,
        };
        acknowledgment.filter(|_| is_expected).ok_or_else(|| reason(line))
    }
}

/// Reads the user of an order.
fn user(object: &str) -> Option<UserSelector> {
    let (kind, name) = object.split_once(' ')?;
    let name: Box<str> = serde_json::from_str(name).ok()?;
    let user = match kind {
        "user" => UserSelector::Id(name),
        "email" => UserSelector::Email(name),
        _ => return None,
    };
    user.can_name_a_user().then_some(user)
}

impl Acknowledgment {
    /// The line that says it.
    pub(super) fn line(&self) -> String {
        match self {
            Acknowledgment::Draining { is_state_written: false } => format!("{PROTOCOL}draining"),
            Acknowledgment::Draining { is_state_written: true } => {
                format!("{PROTOCOL}draining state-written")
            }
            Acknowledgment::Done => format!("{PROTOCOL}done"),
            Acknowledgment::SessionsEnded(ended) => format!("{PROTOCOL}ended {ended}"),
            Acknowledgment::Health(verdicts) => format!("{PROTOCOL}health {verdicts}"),
            Acknowledgment::Addresses(addresses) => {
                let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{PROTOCOL}addresses {}", addresses.join(" "))
            }
            Acknowledgment::LogLevel(state) => format!("{PROTOCOL}log-level {}", state.line()),
            Acknowledgment::Reloaded { generation } => format!("{PROTOCOL}reloaded {generation}"),
            Acknowledgment::Upgraded { process } => format!("{PROTOCOL}upgraded {process}"),
        }
    }

    fn parse(line: &str) -> Option<Acknowledgment> {
        match line.strip_prefix(PROTOCOL)? {
            "draining" => Some(Acknowledgment::Draining { is_state_written: false }),
            "draining state-written" => Some(Acknowledgment::Draining { is_state_written: true }),
            "done" => Some(Acknowledgment::Done),
            other => {
                if let Some(verdicts) = other.strip_prefix("health ") {
                    return Some(Acknowledgment::Health(verdicts.to_owned()));
                }
                if let Some(addresses) = other.strip_prefix("addresses ") {
                    let addresses = addresses.split(' ').map(|address| address.parse().ok());
                    return addresses.collect::<Option<_>>().map(Acknowledgment::Addresses);
                }
                let (verb, object) = other.split_once(' ')?;
                match verb {
                    "ended" => object.parse().ok().map(Acknowledgment::SessionsEnded),
                    "log-level" => LogLevelState::parse(object).map(Acknowledgment::LogLevel),
                    "reloaded" => {
                        let generation = object.parse().ok()?;
                        Some(Acknowledgment::Reloaded { generation })
                    }
                    "upgraded" => {
                        let process = object.parse().ok()?;
                        Some(Acknowledgment::Upgraded { process })
                    }
                    _ => None,
                }
            }
        }
    }
}

/// The line that says why an order is not followed. A reason of several lines, such as the mistakes in
/// a configuration, is a JSON string.
pub(super) fn refusal(reason: &str) -> String {
    if reason.contains('\n') {
        return format!("{PROTOCOL}failed {}", in_one_line(reason));
    }
    format!("{PROTOCOL}refused {reason}")
}

/// As a JSON string, and not too long.
fn in_one_line(reason: &str) -> serde_json::Value {
    let end = reason.floor_char_boundary(MAX_REASON);
    serde_json::Value::from(reason.get(..end).unwrap_or_default())
}

/// Without control characters but the ends of lines.
fn printable(reason: &str) -> String {
    let lines = reason.lines().map(|line| line.replace(char::is_control, " "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Why an order was not followed, by the line that answers it.
fn reason(answer: &str) -> String {
    let failed = answer.strip_prefix(PROTOCOL).and_then(|answer| answer.strip_prefix("failed "));
    if let Some(reason) = failed.and_then(|reason| serde_json::from_str::<String>(reason).ok()) {
        return printable(&reason);
    }
    match answer.strip_prefix(PROTOCOL).and_then(|answer| answer.strip_prefix("refused ")) {
        Some(reason) => reason.escape_debug().to_string(),
        None => format!("unexpected answer: {}", answer.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Level;

    fn orders() -> Vec<Order> {
        let longest = "\u{1}".repeat(UserSelector::MAX_BYTES);
        let users = [
            UserSelector::Id("alice".into()),
            UserSelector::Id("a b\n\"c\" \u{e9}".into()),
            UserSelector::Id(longest.into()),
            UserSelector::Email("alice@example.com".into()),
        ];
        let workers = [true, false].map(|drained| Order::DrainWorker { worker: 3, drained });
        let about_users = users.map(Order::EndSessions);
        let debug = LogLevelOrder::Set { level: Level::Debug, for_s: 600 };
        let levels = [LogLevelOrder::Show, debug, LogLevelOrder::Configured].map(Order::LogLevel);
        let others = [
            Order::Leave,
            Order::TellHealth,
            Order::TellAddresses,
            Order::Reload,
            Order::Upgrade,
            Order::TellWhetherServing,
            Order::CannotReplace("a \"b\"\nc".to_owned()),
            Order::CannotReplace("x".repeat(MAX_REASON)),
        ];
        workers.into_iter().chain(about_users).chain(others).chain(levels).collect()
    }

    #[test]
    fn an_order_comes_back_from_its_line() {
        for order in orders() {
            let line = order.line();
            assert!(!line.contains('\n') && line.len() <= super::super::line::MAX_LINE, "{line}");
            assert_eq!(Order::parse(&line), Some(order));
        }
    }

    #[test]
    fn other_lines_are_no_orders() {
        let long = "a".repeat(UserSelector::MAX_BYTES + 1);
        for line in [
            "",
            "drain",
            "portcullis/9 drain",
            "portcullis/1 drain 1",
            "portcullis/1 drain ",
            "portcullis/1 reload now",
            "portcullis/1 upgrade ",
            "portcullis/1 tell-whether-serving 1",
            "portcullis/1 cannot-replace because",
            "portcullis/1 drain-worker",
            "portcullis/1 drain-worker x",
            "portcullis/1 drain-worker 1 2",
            "portcullis/1 drain-worker -1",
            "portcullis/1 end-sessions",
            "portcullis/1 end-sessions user",
            "portcullis/1 end-sessions user alice",
            "portcullis/1 end-sessions user \"\"",
            "portcullis/1 end-sessions user 1",
            "portcullis/1 end-sessions user \"a\" \"b\"",
            "portcullis/1 end-sessions email \"a\"",
            "portcullis/1 end-sessions name \"a\"",
            &format!("portcullis/1 end-sessions user \"{long}\""),
            &format!("portcullis/1 end-sessions email \"{long}@b\""),
        ] {
            assert_eq!(Order::parse(line), None, "{line:?}");
        }
    }

    #[test]
    fn a_reason_of_several_lines_arrives_as_it_was() {
        let reason = "config.yaml:1: a\nconfig.yaml:2: \"b\"";
        assert!(!refusal(reason).contains('\n'));
        assert_eq!(Order::Reload.read_answer(&refusal(reason)), Err(reason.to_owned()));
        let shown = Order::Reload.read_answer(&refusal("a\nb\u{1b}[2J")).unwrap_err();
        assert_eq!(shown, "a\nb [2J");
    }

    #[test]
    fn an_answer_counts_for_orders_of_its_kind_alone() {
        use Acknowledgment::{
            Addresses, Done, Draining, Health, LogLevel, Reloaded, SessionsEnded, Upgraded,
        };
        let addresses = ["[::]:443", "127.0.0.1:80"].map(|text| text.parse().unwrap()).to_vec();
        let state = LogLevelState { level: Level::Info, configured: Level::Info, left_s: None };
        for order in orders() {
            let draining = [true, false].map(|is_state_written| Draining { is_state_written });
            let others = [
                Done,
                SessionsEnded(3),
                Health("[[\"a b\"]]".to_owned()),
                Addresses(addresses.clone()),
                LogLevel(state),
                Reloaded { generation: 3 },
                Upgraded { process: 3 },
            ];
            for answer in draining.clone().into_iter().chain(others) {
                let is_expected = match order {
                    Order::Leave => draining.contains(&answer),
                    Order::DrainWorker { .. }
                    | Order::CannotReplace(_)
                    | Order::TellWhetherServing => answer == Done,
                    Order::Reload => answer == Reloaded { generation: 3 },
                    Order::Upgrade => answer == Upgraded { process: 3 },
                    Order::EndSessions(_) => answer == SessionsEnded(3),
                    Order::TellHealth => matches!(answer, Health(_)),
                    Order::TellAddresses => matches!(answer, Addresses(_)),
                    Order::LogLevel(_) => answer == LogLevel(state),
                };
                let read = order.read_answer(&answer.line());
                assert_eq!(read.is_ok(), is_expected, "{order:?}: {read:?}");
                assert!(read.is_err() || read == Ok(answer));
            }
            for other in ["", "portcullis/1 ended", "portcullis/1 ended -1", "portcullis/9 done"] {
                let problem = order.read_answer(other).unwrap_err();
                assert!(problem.starts_with("unexpected answer"), "{problem}");
            }
            assert_eq!(order.read_answer(&refusal("because")), Err("because".to_owned()));
        }
    }
}
