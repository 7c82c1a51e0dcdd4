//! The work that the instrumented proxy does: what an edge does all day, over real TLS.

use std::{path::Path, process::Stdio};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{command, run as run_command, shown},
    rig::{Rig, ZONE, build_load_generator},
};

/// A kind of work, a path, the bytes of its body, connections, seconds.
const LOADS: &[(&str, &str, usize, u32, u32)] = &[
    ("keep-alive", "/1k", 1 << 10, 50, 8),
    ("full-handshake", "/1k", 1 << 10, 16, 3),
    ("resumed-handshake", "/1k", 1 << 10, 16, 3),
    ("keep-alive", "/64k", 64 << 10, 32, 3),
];
const HTTP2_REQUESTS: u32 = 5000;

/// Puts the load of an edge through `proxy`, which has to end by SIGTERM to leave its profile.
pub(super) fn run(directory: &Path, proxy: &Path) -> Result<()> {
    let generator = build_load_generator()?;
    let rig = Rig::prepare(directory)?;
    let _upstream = rig.start_upstream()?;
    let proxy = rig.start_proxy(proxy, &rig.config_yaml(&[ZONE.to_owned()], ""))?;
    for (work, path, body_bytes, connections, seconds) in LOADS {
        println!("* Training: {work} {path}");
        let mut load = rig.load(&generator, work, ZONE);
        load.args(["--path", path, "--body-bytes", &body_bytes.to_string()]);
        load.args(["--seconds", &seconds.to_string(), "--connections", &connections.to_string()]);
        run_command(&mut load)?;
    }
    println!("* Training: HTTP/2");
    request_over_http2(&rig)?;
    proxy.stop()
}

fn request_over_http2(rig: &Rig) -> Result<()> {
    let mut curl = command("curl");
    curl.args(["--no-progress-meter", "--fail", "--http2", "--parallel"]);
    curl.arg("--cacert").arg(&rig.root);
    curl.arg("--cert").arg(&rig.client.certificate).arg("--key").arg(&rig.client.key);
    curl.args(["--resolve", &format!("{ZONE}:{}:127.0.0.1", rig.edge.port())]);
    curl.arg(format!("https://{ZONE}:{}/1k?[1-{HTTP2_REQUESTS}]", rig.edge.port()));
    let status = curl.stdout(Stdio::null()).status().context("cannot run curl")?;
    ensure!(status.success(), "{} failed: {status}", shown(&curl));
    Ok(())
}
