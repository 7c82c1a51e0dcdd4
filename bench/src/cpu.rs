//! CPU time of processes, from `/proc`, and our own.

use std::{collections::HashMap, fs, time::Duration};

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// A clock tick, `sysconf(_SC_CLK_TCK)`: 100 a second on every Linux that Rust supports.
const TICK: Duration = Duration::from_millis(10);
/// Fields of `/proc/PID/stat` behind the command's closing parenthesis, from 0: user and system
/// time of the process with all its present and former threads, and of the children it has waited
/// for.
const TIMES: [usize; 4] = [11, 12, 13, 14];

/// Counts CPU time from its start.
#[derive(Debug)]
pub(crate) struct Meter {
    pids: Vec<u32>,
    before: Option<Times>,
    client: Duration,
}

/// CPU time between start and stop.
#[derive(Debug)]
pub(crate) struct Used {
    /// The time of this process.
    pub(crate) client: Duration,
    /// The time of the processes and all their descendants; `None` if no process is named or one
    /// has ended.
    pub(crate) proxy: Option<Duration>,
}

/// The CPU times in `/proc` at one moment.
#[derive(Debug, Default, Clone, PartialEq)]
struct Times {
    processes: u32,
    /// Whole ticks, complete.
    ticks: Duration,
    /// Exact times by thread. The time of a thread that ends is lost.
    threads: HashMap<u32, Duration>,
}

impl Meter {
    /// Starts to count the CPU time of these processes.
    pub(crate) fn start(pids: &[u32]) -> Result<Self> {
        let before = if pids.is_empty() { None } else { Some(Times::of(pids)?) };
        Ok(Self { pids: pids.to_owned(), before, client: own() })
    }

    /// The CPU time since the start.
    pub(crate) fn stop(self) -> Used {
        let client = own().saturating_sub(self.client);
        let proxy = self.before.and_then(|before| Some(Times::of(&self.pids).ok()?.since(&before)));
        Used { client, proxy }
    }
}

impl Times {
    fn of(pids: &[u32]) -> Result<Self> {
        let mut times = Self::default();
        for pid in pids {
            times.add(*pid).with_context(|| format!("process {pid}"))?;
        }
        Ok(times)
    }

    fn add(&mut self, pid: u32) -> Result<()> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        self.ticks += ticks(&stat)?;
        self.processes += 1;
        for task in fs::read_dir(format!("/proc/{pid}/task"))? {
            let task = task?.path();
            let tid = task.file_name().and_then(|tid| tid.to_str()?.parse().ok());
            let time = fs::read_to_string(task.join("schedstat")).ok();
            let time = time.and_then(|text| text.split(' ').next()?.parse().ok());
            if let (Some(tid), Some(time)) = (tid, time) {
                self.threads.insert(tid, Duration::from_nanos(time));
            }
            let children = fs::read_to_string(task.join("children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|pid| pid.parse().ok()) {
                // A child may end between two reads; its parent then has its ticks.
                let _ = self.add(child);
            }
        }
        Ok(())
    }

    /// The result is exact if no thread with noticeable time has ended in between.
    fn since(&self, before: &Self) -> Duration {
        let ticks = self.ticks.saturating_sub(before.ticks);
        let one = |(tid, time): (&u32, &Duration)| {
            time.saturating_sub(before.threads.get(tid).copied().unwrap_or_default())
        };
        let exact: Duration = self.threads.iter().map(one).sum();
        let rounding = TICK * 2 * self.processes.max(before.processes);
        if self.threads.is_empty() || ticks > exact + rounding { ticks } else { exact }
    }
}

fn ticks(stat: &str) -> Result<Duration> {
    let (_, fields) = stat.rsplit_once(')').context("no command in /proc/PID/stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let field = |index: usize| -> Result<u32> {
        Ok(fields.get(index).context("a short /proc/PID/stat")?.parse()?)
    };
    TIMES.into_iter().map(|index| Ok(TICK * field(index)?)).sum()
}

fn own() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(ticks: u64, threads: &[(u32, u64)]) -> Times {
        let threads = threads.iter().map(|(tid, us)| (*tid, Duration::from_micros(*us)));
        Times { processes: 1, ticks: TICK * ticks as u32, threads: threads.collect() }
    }

    #[test]
    fn user_and_system_time_of_a_process_and_its_children_are_read() {
        let stat = "1 (a) b) S 0 1 1 0 -1 0 5 6 7 8 1 20 300 4000 20 0 1 0 9";
        assert_eq!(ticks(stat).unwrap(), TICK * 4321);
        assert!(ticks("1 (a) S 0 1").is_err());
    }

    #[test]
    fn the_exact_times_count_where_all_threads_are_still_there() {
        let (before, after) = (times(5, &[(1, 51_000)]), times(7, &[(1, 76_500), (2, 300)]));
        assert_eq!(after.since(&before), Duration::from_micros(25_800));
    }

    #[test]
    fn the_ticks_count_where_a_thread_has_ended() {
        let before = times(5, &[(1, 50_000), (2, 1_000)]);
        let after = times(105, &[(1, 60_000)]);
        assert_eq!(after.since(&before), TICK * 100);
    }

    #[test]
    fn the_ticks_count_where_the_kernel_has_no_exact_times() {
        assert_eq!(times(7, &[]).since(&times(5, &[])), TICK * 2);
    }

    #[test]
    fn a_process_that_is_not_there_cannot_be_counted() {
        assert!(Meter::start(&[u32::MAX]).is_err());
        assert!(Meter::start(&[]).unwrap().stop().proxy.is_none());
        assert!(Meter::start(&[std::process::id()]).unwrap().stop().proxy.is_some());
    }
}
