//! The properties of the machine that the figures of a run depend on.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use super::{
    pin::Core,
    processes::{CoreTime, core_times},
};
use crate::command::{command, is_root, root};

/// The sysctls that `namespace` sets.
const SYSCTLS: &str = "tcp_syncookies=2 in W9c and W13; tcp_migrate_req=1 in W12";

const GLANCE: Duration = Duration::from_millis(500);

/// The conditions that do not change during the run.
pub(super) fn of_machine(in_namespace: bool) -> Vec<(String, String)> {
    let (proxy, load) = (Core::Proxy.number(), Core::Load.number());
    let network = match (in_namespace, is_root()) {
        (true, _) => "loopback of a network namespace",
        (false, _) => "loopback of the machine",
    };
    [
        ("processor", processor()),
        ("cores", thread::available_parallelism().map_or(0, usize::from).to_string()),
        ("kernel", said("uname", &["-sr"])),
        (
            "revision of the working tree",
            said("git", &["describe", "--always", "--dirty", "--abbrev=12"]),
        ),
        ("core of the proxy", format!("{proxy}, alone; one worker unless the work needs more")),
        ("core of the load generator and the upstreams", load.to_string()),
        ("network", network.to_owned()),
        ("sysctls that works set", SYSCTLS.to_owned()),
        (
            "TLS",
            "1.3, AES-128-GCM, X25519, ECDSA P-256, certificates on both sides of both hops".into(),
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The load on the cores while the benchmark runs nothing.
pub(super) fn of_moment(when: &str) -> Vec<(String, String)> {
    let before = core_times();
    thread::sleep(GLANCE);
    let after = core_times();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    vec![
        (format!("cores busy with other things {when}"), busy(&before, &after)),
        (format!("load average {when}"), load),
    ]
}

/// The share of time that the hypervisor took since then.
pub(super) fn stolen_since(before: &BTreeMap<u32, CoreTime>) -> (String, String) {
    let shares = shares(before, &core_times(), |time| time.stolen);
    ("time taken by the hypervisor during the run".to_owned(), shares)
}

fn busy(before: &BTreeMap<u32, CoreTime>, after: &BTreeMap<u32, CoreTime>) -> String {
    shares(before, after, |time| time.busy)
}

fn shares(
    before: &BTreeMap<u32, CoreTime>,
    after: &BTreeMap<u32, CoreTime>,
    part: impl Fn(&CoreTime) -> u64,
) -> String {
    let all = |time: &CoreTime| time.busy + time.idle + time.stolen;
    let of = |(core, now): (&u32, &CoreTime)| {
        let then = before.get(core)?;
        let (part, all) = (part(now) - part(then), all(now) - all(then));
        (all > 0).then(|| format!("core {core}: {} %", part * 100 / all))
    };
    after.iter().filter_map(of).collect::<Vec<_>>().join(", ")
}

fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split_once(": ")).map_or("?", |(_, name)| name).to_owned()
}

/// The first line that a program prints; a question mark if the program cannot be run.
pub(super) fn said(program: &str, arguments: &[&str]) -> String {
    let output = command(program).current_dir(root()).args(arguments).output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_is_busy_for_its_share_of_the_time_between() {
        let time =
            |busy, idle| BTreeMap::from([(0, CoreTime { busy, interrupts: 0, idle, stolen: 0 })]);
        assert_eq!(busy(&time(10, 10), &time(35, 85)), "core 0: 25 %");
        assert_eq!(busy(&time(10, 10), &time(10, 10)), "");
    }

    #[test]
    fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(said("no-such-program-anywhere", &[]), "?");
    }
}
