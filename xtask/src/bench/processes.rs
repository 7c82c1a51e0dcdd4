//! Measurements of a proxy's processes by `/proc` and `perf`.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context, Result, ensure};

use crate::command::{command, is_installed, shown};

/// The IDs of a process and all its descendants.
pub(super) fn family(id: u32) -> Vec<u32> {
    let mut family = vec![id];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(children(parent));
        next += 1;
    }
    family
}

fn children(id: u32) -> Vec<u32> {
    // Any thread of a process may have started children.
    let Ok(tasks) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    let lists = tasks.flatten().map(|task| fs::read_to_string(task.path().join("children")));
    lists.flatten().flat_map(|list| parse_ids(&list)).collect()
}

fn parse_ids(list: &str) -> Vec<u32> {
    list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
}

/// Resident memory of these processes in KiB; shared memory counts once (`Pss`), so that a proxy
/// with several processes is not at a disadvantage.
pub(super) fn memory_kib(ids: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in ids {
        let path = format!("/proc/{id}/smaps_rollup");
        // A process that has ended meanwhile has no rollup.
        let Ok(rollup) = fs::read_to_string(&path) else { continue };
        sum += proportional_kib(&rollup).with_context(|| format!("no Pss in {path}"))?;
    }
    ensure!(sum > 0, "cannot read the memory use of any of the processes {ids:?}");
    Ok(sum)
}

fn proportional_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The number of system calls that these processes make while a command runs; `None` if perf cannot
/// count them.
pub(super) fn system_calls(ids: &[u32], load: &Command) -> Result<Option<u64>> {
    if !is_installed("perf") {
        return Ok(None);
    }
    let ids: Vec<_> = ids.iter().map(u32::to_string).collect();
    let mut perf = command("perf");
    perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p", &ids.join(","), "--"]);
    perf.arg(load.get_program()).args(load.get_args());
    let output = perf.output().context("cannot run perf")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed: {said}", shown(&perf));
    Ok(count(&said))
}

fn count(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("raw_syscalls:sys_enter"))?;
    line.split(',').next()?.parse().ok()
}

/// The kernel's unit of time in `/proc/stat`.
pub(super) const TICKS_PER_SECOND: u32 = 100;

/// The ticks that a core has been busy and idle since the machine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CoreTime {
    pub(super) busy: u64,
    /// The ticks of `busy` in interrupts and what they postpone, such as received packets.
    pub(super) interrupts: u64,
    pub(super) idle: u64,
    /// The ticks that the hypervisor gave to other machines.
    pub(super) stolen: u64,
}

/// The times by core.
pub(super) fn core_times() -> BTreeMap<u32, CoreTime> {
    parse_core_times(&fs::read_to_string("/proc/stat").unwrap_or_default())
}

fn parse_core_times(stat: &str) -> BTreeMap<u32, CoreTime> {
    let of = |line: &str| {
        let (core, fields) = line.strip_prefix("cpu")?.split_once(' ')?;
        let core = core.parse().ok()?;
        let ticks: Vec<u64> =
            fields.split_whitespace().map_while(|field| field.parse().ok()).collect();
        let [user, nice, system, idle, wait, irq, softirq, stolen, ..] = *ticks else {
            return None;
        };
        let interrupts = irq + softirq;
        let busy = user + nice + system + interrupts;
        Some((core, CoreTime { busy, interrupts, idle: idle + wait, stolen }))
    };
    stat.lines().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_the_children_of_children() {
        let mut shell = command("sh");
        shell.args(["-c", "sh -c 'echo ready; sleep 600; :'; :"]);
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let mut process = crate::process::Process::start(&shell, &log).unwrap();
        process.wait_until("it is there", |log| log.contains("ready")).unwrap();
        let mut all = family(process.id());
        for _ in 0..100 {
            // The innermost may not have begun yet.
            all = family(process.id());
            if all.len() == 3 {
                break;
            }
        }
        assert_eq!(all.len(), 3);
        assert!(memory_kib(&all).unwrap() > 0);
        for id in all.into_iter().skip(1) {
            let _ = command("kill").args(["-KILL", &id.to_string()]).status();
        }
    }

    #[test]
    fn memory_is_the_proportional_share() {
        assert_eq!(
            proportional_kib("0-1 x\nRss:  9 kB\nPss:      7 kB\nPss_Dirty: 1 kB\n"),
            Some(7)
        );
        assert_eq!(proportional_kib("Rss: 9 kB\n"), None);
    }

    #[test]
    fn a_count_of_system_calls_is_the_first_field() {
        assert_eq!(count("1234,,raw_syscalls:sys_enter,100,100.00,,\n"), Some(1234));
        assert_eq!(count("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"), None);
    }

    #[test]
    fn times_of_cores_leave_out_the_sum() {
        let stat = "cpu  9 9 9 9 9 9 9 9 0 0\ncpu0 1 2 3 40 5 6 7 8 0 0\nintr 1\n";
        let expected = CoreTime { busy: 19, interrupts: 13, idle: 45, stolen: 8 };
        assert_eq!(parse_core_times(stat), BTreeMap::from([(0, expected)]));
    }
}
