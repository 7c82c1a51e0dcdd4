//! The time that the kernel spends in our programs, which no process is charged for.

use std::fs;

use anyhow::{Context, Result};

use crate::command::command;

/// Sets `kernel.bpf_stats_enabled` while this lives: the kernel then times every program.
pub(super) struct ProgramStatistics(String);

const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl ProgramStatistics {
    /// Switches it on.
    pub(super) fn switch_on() -> Result<Self> {
        let before = fs::read_to_string(STATISTICS).context(STATISTICS)?;
        fs::write(STATISTICS, "1").context(STATISTICS)?;
        Ok(Self(before))
    }
}

impl Drop for ProgramStatistics {
    fn drop(&mut self) {
        let _ = fs::write(STATISTICS, &self.0);
    }
}

/// Nanoseconds of one run of `steer`, averaged over all loaded programs.
pub(super) fn program_ns() -> Option<f64> {
    let output =
        command("bpftool").args(["--json", "prog", "show", "name", "steer"]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let (time, runs) = (numbers(&said, "\"run_time_ns\":"), numbers(&said, "\"run_cnt\":"));
    (runs > 0.0).then(|| time / runs)
}

fn numbers(json: &str, key: &str) -> f64 {
    let after = json.split(key).skip(1);
    after
        .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse::<f64>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_all_instances_are_added_up() {
        let json = r#"[{"run_time_ns":500,"run_cnt":2},{"run_time_ns":100,"run_cnt":1}]"#;
        assert_eq!(numbers(json, "\"run_time_ns\":"), 600.0);
        assert_eq!(numbers(json, "\"absent\":"), 0.0);
    }
}
