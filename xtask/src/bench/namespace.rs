//! A network namespace for a measurement: its sysctls are not those of the machine.

use std::{env, fs};

use anyhow::{Context, Result, ensure};

use crate::command::{command, is_root, run as run_command};

const INSIDE: &str = "PORTCULLIS_BENCH_NAMESPACE";

/// Runs this tool once more in a new network namespace, and there what is to be run.
pub(super) fn enter(inside: impl FnOnce() -> Result<()>) -> Result<()> {
    if env::var_os(INSIDE).is_some() {
        prepare()?;
        return inside();
    }
    ensure!(is_root(), "a network namespace with sysctls of its own takes root");
    let this = env::current_exe().context("the path of this program")?;
    let mut unshare = command("unshare");
    run_command(unshare.env(INSIDE, "1").arg("--net").arg(this).args(env::args_os().skip(1)))
}

fn prepare() -> Result<()> {
    run_command(command("ip").args(["link", "set", "lo", "up"]))?;
    for (name, value) in [
        // What steering in the kernel rests on.
        ("tcp_syncookies", "2"),
        ("ip_local_port_range", "1024 65535"),
    ] {
        let path = format!("/proc/sys/net/ipv4/{name}");
        fs::write(&path, value).with_context(|| format!("cannot write {path}"))?;
    }
    Ok(())
}
