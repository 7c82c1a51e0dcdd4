//! A Debian that was booted with its own systemd, in systemd-nspawn.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    process::{Finished, Process, run},
    tempdir::target_dir,
    tools::need,
    wait::{eventually, until},
};

/// A booted container, in the network of the thread that has started it. What is written to its files
/// is gone with it.
#[derive(Debug)]
pub struct Container {
    nspawn: Process,
    init: u32,
}

impl Container {
    /// Boots the tree of a Debian release that `cargo xtask supervised` has made, with all
    /// capabilities and the system calls for kernel programs.
    ///
    /// # Panics
    /// When there is no tree, or it does not boot.
    pub fn boot(release: &str) -> Self {
        let trees = std::env::var_os("PORTCULLIS_TREES");
        let tree = trees.map_or_else(|| target_dir().join("trees"), PathBuf::from).join(release);
        assert!(tree.is_dir(), "{} is missing; run: cargo xtask supervised", tree.display());
        let mut command = Command::new(need("systemd-nspawn"));
        command.arg("--directory").arg(tree).args([
            "--quiet",
            "--volatile=overlay",
            "--register=no",
            "--keep-unit",
            "--boot",
            "--console=pipe",
            "--capability=all",
            "--system-call-filter=bpf perf_event_open",
        ]);
        let nspawn = Process::spawn("systemd-nspawn", &mut command);
        let id = nspawn.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let init = eventually("the container's first process", || {
            let children = fs::read_to_string(&children).ok()?;
            children
                .split_whitespace()
                .filter_map(|child| child.parse().ok())
                .find(|it| is_init(*it))
        });
        let container = Self { nspawn, init };
        until("the container to have booted", || {
            let state = container.run(&["systemctl", "is-system-running"]).stdout;
            ["running", "degraded"].contains(&state.trim())
        });
        container
    }

    /// Runs a command inside to its end.
    pub fn run(&self, command: &[&str]) -> Finished {
        let init = self.init.to_string();
        let mut enter = Command::new(need("nsenter"));
        enter.args(["--target", &init, "--mount", "--uts", "--ipc", "--pid", "--"]);
        // A variable of this program may set a configuration key.
        enter.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        run(enter.args(command), b"")
    }

    /// As [`Container::run`]; returns the output.
    ///
    /// # Panics
    /// When the command fails.
    pub fn ok(&self, command: &[&str]) -> String {
        let done = self.run(command);
        assert_eq!(done.code, Some(0), "{command:?}: {}{}", done.stdout, done.stderr);
        done.stdout
    }

    /// A file inside, as a path of this machine.
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.init))
    }

    /// Writes a file that is readable by all users inside.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        let directory = path.parent().expect("a file is in a directory");
        fs::create_dir_all(directory).expect("make a directory");
        fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }

    /// Puts a program into its place as a package manager does: the old file stays for those who run
    /// it.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn install(&self, program: &Path, inside: &str) {
        let new = self.path(&format!("{inside}.new"));
        fs::copy(program, &new).unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        fs::rename(&new, self.path(inside)).expect("rename a program");
    }

    /// Whether a process inside has not ended, by its ID there. One that nobody has waited for has, if
    /// its other threads have ended too: the first one may end before them.
    pub fn runs(&self, process: &str) -> bool {
        let directory = self.path(&format!("/proc/{process}"));
        let threads = fs::read_dir(directory.join("task")).map_or(0, Iterator::count);
        let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
        threads > 1 || threads == 1 && !status.contains("\nState:\tZ")
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let shown = self.ok(&["systemctl", "show", unit, "--value", "--property", name]);
        shown.trim().to_owned()
    }

    /// What a unit has logged.
    pub fn log(&self, unit: &str) -> String {
        self.ok(&["journalctl", "--no-pager", "--output=cat", "--unit", unit])
    }
}

/// Whether a process has the ID 1 in its own namespace: nspawn has helpers beside it.
fn is_init(process: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let ids = status.lines().find(|line| line.starts_with("NSpid:"));
    ids.and_then(|ids| ids.split_whitespace().last()) == Some("1")
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = self.run(&["systemctl", "poweroff"]);
        self.nspawn.wait_quietly();
    }
}
