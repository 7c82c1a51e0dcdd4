//! The cores: the proxy has one alone, everything else shares the other.

use std::{ffi::OsStr, fs, process::Command};

use crate::command::command;

/// A role and its core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Core {
    /// The core of the proxy.
    Proxy,
    /// The core of the load generator and the upstreams.
    Load,
}

impl Core {
    /// The number of the core.
    pub(super) fn number(self) -> u32 {
        match self {
            Self::Proxy => 0,
            Self::Load => 1,
        }
    }
}

/// A command that runs on that core, with the highest limit of open files that the machine allows.
pub(super) fn pinned(core: Core, program: impl AsRef<OsStr>) -> Command {
    let mut pinned = command("taskset");
    pinned.args(["--cpu-list", &core.number().to_string()]);
    if let Some(files) = hard_limit_of_files() {
        pinned.args(["prlimit", &format!("--nofile={files}:{files}"), "--"]);
    }
    pinned.arg(program);
    pinned
}

fn hard_limit_of_files() -> Option<u64> {
    parse_hard_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

fn parse_hard_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hard_limit_is_the_second_number() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max open files            1024                 20000                files\n";
        assert_eq!(parse_hard_limit(limits), Some(20_000));
        assert_eq!(parse_hard_limit("Max open files  unlimited unlimited files\n"), None);
    }

    #[test]
    fn the_proxy_shares_its_core_with_nobody() {
        assert_ne!(Core::Proxy.number(), Core::Load.number());
    }
}
