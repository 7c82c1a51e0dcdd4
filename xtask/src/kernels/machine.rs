//! A virtual machine: boots a kernel, and reads what the guest says on its serial line.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};

use super::{debian::Kernel, guest::Guest};
use crate::command::command;

/// After this much work, in seconds of CPU time, the emulator is killed: beside other work it takes
/// longer, but works no more. Its guest needs a tenth of that.
const MAX_CPU_SECONDS: u32 = 1800;
/// The signal at that limit, `SIGXCPU`.
const OVER_CPU_LIMIT: i32 = 24;
const MEMORY_MIB: u32 = 2048;
/// The guest's clock counts instructions, at four nanoseconds each: however slow this machine is, a
/// test waits no longer for an event than on a machine of that speed. While the guest only waits, its
/// clock runs ahead.
const CLOCK: &str = "shift=2,sleep=off";

/// Boots the kernel, runs the tests and returns the number of those that passed. What it shows begins
/// with the codename: several guests may run at once.
pub(super) fn boot(
    codename: &str,
    kernel: &Kernel,
    guest: &Guest,
    directory: &Path,
) -> Result<u64> {
    let archive = directory.join(format!("initramfs-{codename}"));
    fs::write(&archive, guest.archive(kernel)?)?;
    // It ends with this tool.
    let mut machine = command("setpriv");
    machine.args(["--pdeathsig", "KILL", "--", "prlimit", &format!("--cpu={MAX_CPU_SECONDS}")]);
    machine.arg("qemu-system-x86_64");
    // Emulation, everywhere: on a virtual machine, `/dev/kvm` may be there and hang. One CPU: with two
    // and such a clock, Linux 6.1 does not boot.
    machine.args(["-machine", "pc,accel=tcg", "-cpu", "max", "-smp", "1", "-icount", CLOCK]);
    machine.args(["-m", &MEMORY_MIB.to_string(), "-nodefaults", "-display", "none"]);
    machine.args(["-monitor", "none", "-serial", "stdio", "-no-reboot"]);
    machine.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&archive);
    machine.args(["-append", "console=ttyS0 quiet loglevel=4 panic=-1"]);
    let mut machine = machine
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run qemu-system-x86_64")?;
    let said = machine.stdout.take().context("the guest's output is a pipe")?;
    let mut report = Report::default();
    for line in BufReader::new(said).split(b'\n') {
        if let Some(shown) = report.read(String::from_utf8_lossy(&line?).trim_end()) {
            println!("{codename}: {shown}");
        }
    }
    let status = machine.wait()?;
    ensure!(
        status.signal() != Some(OVER_CPU_LIMIT),
        "the guest did not end within {MAX_CPU_SECONDS} s of CPU time"
    );
    report.verdict(guest.programs)
}

/// What the guest has said so far.
#[derive(Default)]
struct Report {
    has_begun: bool,
    ended: usize,
    passed: u64,
    failed: Vec<String>,
}

impl Report {
    /// Reads a line, and returns what to show if it is from the tests.
    fn read<'l>(&mut self, line: &'l str) -> Option<&'l str> {
        if line.starts_with("@begin ") {
            self.has_begun = true;
        }
        self.passed += passed(line).unwrap_or(0);
        let Some(ended) = line.strip_prefix("@ended ") else {
            let is_shown = self.has_begun && !line.is_empty();
            return is_shown.then(|| line.trim_start_matches('@'));
        };
        self.ended += 1;
        match ended.split_once(' ') {
            Some(("0", _)) => {}
            Some((status, program)) => self.failed.push(format!("{program} ({status})")),
            None => self.failed.push(ended.to_owned()),
        }
        None
    }

    fn verdict(self, programs: usize) -> Result<u64> {
        ensure!(self.has_begun, "the guest did not boot");
        if !self.failed.is_empty() {
            bail!("failed: {}", self.failed.join(", "));
        }
        ensure!(self.ended == programs, "the guest ended after {} of {programs}", self.ended);
        ensure!(self.passed > 0, "no test was run");
        Ok(self.passed)
    }
}

/// The number in the last line of a program of tests: `test result: ok. 3 passed; ...`.
fn passed(line: &str) -> Option<u64> {
    let counts = line.strip_prefix("test result: ")?;
    counts.split([' ', ';']).nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(said: &str) -> Result<u64> {
        let mut report = Report::default();
        for line in said.lines() {
            report.read(line);
        }
        report.verdict(2)
    }

    const ONE: &str =
        "@begin Linux 6.1\n@run one\ntest result: ok. 3 passed; 0 failed\n@ended 0 one\n";

    #[test]
    fn passed_tests_are_added_up() {
        let two = "@run two\ntest result: ok. 4 passed; 0 failed; 1 filtered out\n@ended 0 two\n";
        assert_eq!(verdict(&format!("{ONE}{two}")).unwrap(), 7);
    }

    #[test]
    fn a_guest_that_does_not_boot_or_stops_is_a_failure() {
        assert!(verdict("").unwrap_err().to_string().contains("did not boot"));
        assert!(verdict(ONE).unwrap_err().to_string().contains("after 1 of 2"));
        let panicked = format!("{ONE}@run two\n@ended 101 two\n");
        assert_eq!(verdict(&panicked).unwrap_err().to_string(), "failed: two (101)");
    }
}
