//! Namespaces for a measurement: its sysctls and ports are separate from the machine's, and none of
//! its processes outlives it.

use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::command::{command, is_root, run as run_command};

const INSIDE: &str = "PORTCULLIS_BENCH_NAMESPACE";

/// The range of client ports, above the ports that proxies listen on.
pub(super) const CLIENT_PORTS: &str = "10000 65535";

/// Whether this process runs inside the namespaces.
pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

/// Starts this tool again in new namespaces, to run the measurement there.
///
/// All processes there end with the first one, which the kernel kills when this process ends: also
/// the workers of peers whose parents were killed.
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
    write("ip_local_port_range", CLIENT_PORTS)
}

fn write(name: &str, value: &str) -> Result<()> {
    let path = path(name);
    fs::write(&path, value).with_context(|| format!("cannot write {path}"))
}

fn path(name: &str) -> String {
    format!("/proc/sys/net/ipv4/{name}")
}

/// A sysctl of the namespace; dropping this restores the former value.
pub(super) struct Sysctl {
    name: &'static str,
    before: String,
}

/// Sets the sysctl that steering in the kernel needs.
pub(super) fn always_send_syn_cookies() -> Result<Sysctl> {
    set_syncookies("2")
}

/// Sets when SYN cookies are sent: `1` with a full queue, the default; `2` always.
pub(super) fn set_syncookies(value: &str) -> Result<Sysctl> {
    set("tcp_syncookies", value)
}

/// Sets the sysctl that moves new connections to another process that listens on the same address
/// when the first one closes its socket.
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
