//! The work of the instrumented proxy: the usual work of an edge, over real TLS.

use std::{path::Path, process::Stdio};

use anyhow::Result;

use crate::{
    command::run as run_command,
    rig::{Rig, ZONE, build_load_generator},
};

/// A kind of work, the path and its bytes, the seconds, and more arguments of the load generator.
const LOADS: &[(&str, &str, usize, u32, &str)] = &[
    ("keep-alive", "/1k", 1 << 10, 8, "--connections 50"),
    ("full-handshake", "/1k", 1 << 10, 3, "--connections 16"),
    ("resumed-handshake", "/1k", 1 << 10, 3, "--connections 16"),
    ("keep-alive", "/64k", 64 << 10, 3, "--connections 32"),
    ("keep-alive", "/1k", 1 << 10, 4, "--connections 5 --protocol h2 --streams 10"),
];

/// Puts the load of an edge through `proxy`, which must end by SIGTERM to write its profile.
pub(super) fn run(directory: &Path, proxy: &Path) -> Result<()> {
    let generator = build_load_generator()?;
    let rig = Rig::prepare(directory)?;
    let _upstream = rig.start_upstream()?;
    let proxy = rig.start_proxy(proxy, &rig.config_yaml(&[ZONE.to_owned()], ""))?;
    for (work, path, body_bytes, seconds, more) in LOADS {
        println!("* Training: {work} {path} {more}");
        let mut load = rig.load(&generator, work, ZONE);
        load.args(["--path", path, "--body-bytes", &body_bytes.to_string()]);
        load.args(["--seconds", &seconds.to_string()]).args(more.split_whitespace());
        // The result of the measurement is not used.
        run_command(load.stdout(Stdio::null()))?;
    }
    proxy.stop()
}
