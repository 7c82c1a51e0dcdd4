//! CPU time of processes, from `/proc`.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};

/// A clock tick, `sysconf(_SC_CLK_TCK)`: 100 a second on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);
/// Fields of `/proc/PID/stat` behind the command's closing parenthesis, from 0.
const UTIME: usize = 11;
const STIME: usize = 12;

/// User and system time of these processes and of their children, all threads.
pub(crate) fn used_by(pids: &[u32]) -> Result<Duration> {
    let mut used = Duration::ZERO;
    for pid in pids {
        used += used_by_one(*pid)?;
        for child in children(*pid) {
            used += used_by_one(child)?;
        }
    }
    Ok(used)
}

fn used_by_one(pid: u32) -> Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no command in /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u32> {
        Ok(fields.get(index).context("a short /proc/PID/stat")?.parse()?)
    };
    Ok(TICK * (ticks(UTIME)? + ticks(STIME)?))
}

fn children(pid: u32) -> Vec<u32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
