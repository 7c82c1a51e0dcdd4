//! Namespaces for a measurement: its sysctls and ports are not those of the machine, and none of its
//! processes outlives it.

use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::command::{command, is_root, run as run_command};

const INSIDE: &str = "PORTCULLIS_BENCH_NAMESPACE";

/// Whether this is the run inside.
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Runs this tool once more in new namespaces, and there what is to be run.
///
/// All processes there end with the first one, which the kernel ends with this one: workers of
/// peers too, whose parents were killed.
pub(super) fn enter(inside: impl FnOnce() -> Result<()>) -> Result<()> {
    if is_inside() {
        prepare()?;
        return inside();
    }
    ensure!(is_root(), "a network namespace with its own sysctls requires root");
    let this = env::current_exe().context("the path of this program")?;
    let mut unshare = command("setpriv");
    unshare.args(["--pdeathsig", "KILL", "--", "unshare"]);
    unshare.args(["--net", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    run_command(unshare.env(INSIDE, "1").arg(this).args(env::args_os().skip(1)))
}

fn prepare() -> Result<()> {
    run_command(command("ip").args(["link", "set", "lo", "up"]))?;
    // Clients' ports, above those that proxies listen on.
    write("ip_local_port_range", "10000 65535")
}

fn write(name: &str, value: &str) -> Result<()> {
    let path = path(name);
    fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/ipv4/{name}")
}

/// A sysctl of the namespace that is as it was when this is dropped.
pub(super) struct Sysctl {
    name: &'static str,
    before: String,
}

/// What steering in the kernel rests on.
pub(super) fn always_send_syn_cookies() -> Result<Sysctl> {
    set("tcp_syncookies", "2")
}

/// Has connections that begin move to another process that listens at the same address when the
/// first one closes its socket.
pub(super) fn move_connections_that_begin() -> Result<Sysctl> {
    set("tcp_migrate_req", "1")
}

fn set(name: &'static str, value: &str) -> Result<Sysctl> {
    ensure!(is_inside(), "a network namespace with its own sysctls requires root");
    let before = fs::read_to_string(path(name)).with_context(|| path(name))?;
    write(name, value)?;
    Ok(Sysctl { name, before })
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        let _ = write(self.name, self.before.trim());
    }
}
