//! Processes in the background that do not outlive this tool.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::command::{command, run, search_path, shown};

const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks at what is awaited. Times to start are measured in these.
const PAUSE: Duration = Duration::from_millis(10);
const TAIL_LINES: usize = 20;

/// A process in the background, with its output in a file. It ends when this is dropped.
pub(crate) struct Process {
    name: String,
    child: Child,
    started: Instant,
    log: PathBuf,
    patience: Duration,
}

impl Process {
    /// Starts the command. `setpriv` asks the kernel to kill it when this tool ends for any reason,
    /// including Ctrl-C and `kill -9`; its own process group keeps Ctrl-C from reaching it first.
    pub(crate) fn start(wanted: &Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = command("setpriv");
        // Settings in the environment would override the proxy's file.
        command.env_clear().env("PATH", search_path());
        command.args(["--pdeathsig", "KILL", "--"]).arg(wanted.get_program());
        command.args(wanted.get_args()).process_group(0).stdin(Stdio::null());
        command.stdout(file.try_clone()?).stderr(file);
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("cannot run {}", shown(&command)))?;
        let (name, log) = (shown(wanted), log.to_owned());
        Ok(Self { name, child, started, log, patience: PATIENCE })
    }

    /// Sets a longer limit for waits, if the start takes longer than usual.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Waits until `is_so` says yes to the log so far.
    pub(crate) fn wait_until(&mut self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        while !is_so(&fs::read_to_string(&self.log).unwrap_or_default()) {
            self.must_be_running()?;
            if Instant::now() > deadline {
                bail!("timed out waiting until {what}: {}\n{}", self.name, self.log_tail());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Fails with the end of the log if the process has ended.
    pub(crate) fn must_be_running(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// The time since it was started.
    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Its process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn stop(mut self) -> Result<()> {
        let id = self.child.id().to_string();
        run(command("kill").args(["-TERM", &id]))?;
        let deadline = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("timed out waiting for its end: {}\n{}", self.name, self.log_tail());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The file with the output.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// The last lines of the output.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(TAIL_LINES)..).unwrap_or_default();
        format!("{} says:\n{}", self.log.display(), tail.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_ends_early_is_reported_with_what_it_said() {
        let mut shell = command("sh");
        shell.args(["-c", "echo no such file; exit 4"]);
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start(&shell, &directory.path().join("log")).unwrap();
        let error = process.wait_until("it is ready", |_| false).unwrap_err().to_string();
        assert!(error.contains("exit status: 4"), "{error}");
        assert!(error.contains("no such file"), "{error}");
    }

    #[test]
    fn a_process_gets_nothing_of_the_environment_but_the_path() {
        let mut shell = command("sh");
        shell.args(["-c", "env; echo end of it; sleep 600"]);
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start(&shell, &directory.path().join("log")).unwrap();
        process.wait_until("it has said all", |log| log.contains("end of it")).unwrap();
        let said = fs::read_to_string(process.log()).unwrap();
        assert!(said.contains("PATH=") && !said.contains("CARGO"), "{said}");
    }

    #[test]
    fn a_process_that_is_stopped_gets_to_say_its_last() {
        let mut shell = command("sh");
        shell.args([
            "-c",
            "trap 'echo last words; exit 0' TERM; echo ready; while :; do sleep 0.05; done",
        ]);
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::start(&shell, &directory.path().join("log")).unwrap();
        process.wait_until("it is ready", |log| log.contains("ready")).unwrap();
        process.stop().unwrap();
        assert!(fs::read_to_string(directory.path().join("log")).unwrap().contains("last words"));
    }

    #[test]
    fn a_process_is_gone_when_its_handle_is_dropped() {
        let mut sleep = command("sleep");
        sleep.arg("600");
        let directory = tempfile::tempdir().unwrap();
        let process = Process::start(&sleep, &directory.path().join("log")).unwrap();
        let id = process.child.id();
        drop(process);
        assert!(!Path::new(&format!("/proc/{id}")).exists());
    }
}
