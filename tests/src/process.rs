//! Child processes whose output is read while they run.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, MutexGuard, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::wait::{DEADLINE, eventually};

/// A child process; killed when dropped, and its output printed if the test is panicking.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Debug, Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    all: Vec<String>,
    closed: usize,
}

/// The pipes that are read: stdout and stderr.
const PIPES: usize = 2;

impl Process {
    /// Starts a program with empty standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("start {name} ({command:?}): {error}"));
        let output = Arc::new(Output::default());
        read_lines(child.stdout.take().expect("stdout is a pipe"), &output);
        read_lines(child.stderr.take().expect("stderr is a pipe"), &output);
        Self { name: name.to_owned(), child, output }
    }

    /// The process ID.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// All lines of both pipes so far.
    pub fn lines(&self) -> Vec<String> {
        self.output.lock().all.clone()
    }

    /// Waits for the first line, from number `from` on, for which `pick` returns a value.
    ///
    /// # Panics
    /// When the deadline passes or the program ends first; `what` says for what it waited.
    pub fn wait_for<T>(
        &self,
        what: &str,
        from: usize,
        mut pick: impl FnMut(&str) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut next = from;
        let mut lines = self.output.lock();
        loop {
            while let Some(line) = lines.all.get(next) {
                next += 1;
                if let Some(found) = pick(line) {
                    return found;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = lines.closed == PIPES;
            assert!(!ended, "{} ended without {what}", self.name);
            assert!(!left.is_zero(), "waited {DEADLINE:?} in vain for {what} from {}", self.name);
            lines = self.output.changed.wait_timeout(lines, left).expect("no test panics here").0;
        }
    }

    /// Waits for a line that contains `text`; panics as [`Process::wait_for`].
    pub fn wait_for_text(&self, text: &str) -> String {
        self.wait_for(&format!("{text:?}"), 0, |line| line.contains(text).then(|| line.to_owned()))
    }

    /// Sends a signal to the process.
    ///
    /// # Panics
    /// When it no longer runs.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
    }

    /// Whether the process is running.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits a limited time until it ends by itself; for `drop`, where a panic would abort.
    pub fn wait_quietly(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while self.is_running() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it ends by itself and all its output is read.
    ///
    /// # Panics
    /// When the deadline passes.
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("the end of {name}"), || self.child.try_wait().ok()?);
        eventually("the end of its output", || (self.output.lock().closed == PIPES).then_some(()));
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("---- output of {} ----", self.name);
            for line in &self.output.lock().all {
                eprintln!("{line}");
            }
            eprintln!("---- end of {} ----", self.name);
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn read_lines(pipe: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.lock().all.push(text);
            output.changed.notify_all();
            line.clear();
        }
        output.lock().closed += 1;
        output.changed.notify_all();
    });
}

/// The result of a program that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The output on stdout.
    pub stdout: String,
    /// The output on stderr.
    pub stderr: String,
}

/// The time after which a program is killed that should have ended by itself.
const RUN_DEADLINE: Duration = Duration::from_secs(120);

/// Kills a child that does not end by itself.
struct Watchdog {
    done: mpsc::Sender<()>,
    thread: thread::JoinHandle<bool>,
}

impl Watchdog {
    fn start(child: &Child) -> Self {
        let pid = Pid::from_child(child);
        let (done, wait) = mpsc::channel();
        let thread = thread::spawn(move || {
            let bites = wait.recv_timeout(RUN_DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout);
            bites && kill_process(pid, Signal::KILL).is_ok()
        });
        Self { done, thread }
    }

    fn has_bitten(self) -> bool {
        let _ = self.done.send(());
        self.thread.join().expect("the watchdog does not panic")
    }
}

/// Runs a program to its end, with `input` on its standard input.
///
/// # Panics
/// When it cannot be started or does not end.
pub fn run(command: &mut Command, input: &[u8]) -> Finished {
    use std::io::Write;
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || {
        let _ = stdin.write_all(&input); // a program may end before it has read everything
    });
    let watchdog = Watchdog::start(&child);
    let output = child.wait_with_output().expect("wait for a child");
    assert!(!watchdog.has_bitten(), "{command:?} ran for more than {RUN_DEADLINE:?}: {output:?}");
    writer.join().expect("the writer does not panic");
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
