//! HAProxy from Debian, in master-worker mode like Debian's service.

use std::{fs, path::Path};

use anyhow::Result;

use super::{Absent, Peer, Place, Running, after, said_by};
use crate::{
    command::{command, is_installed},
    packages,
    process::Process,
};

struct Haproxy;

pub(super) fn find() -> Result<Box<dyn Peer>, Absent> {
    if is_installed("haproxy") {
        return Ok(Box::new(Haproxy));
    }
    Err(Absent { id: "haproxy".into(), reason: packages::how_to_get("haproxy") })
}

impl Peer for Haproxy {
    fn id(&self) -> &str {
        "haproxy"
    }

    fn version(&self) -> String {
        let said = said_by(command("haproxy").arg("-vv"));
        let version = after(&said, "HAProxy version ").unwrap_or("?");
        let version = version.split_whitespace().next().unwrap_or_default();
        format!(
            "HAProxy {version}, {}",
            after(&said, "Running on OpenSSL version : ").unwrap_or("?")
        )
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        let cfg = write(place)?;
        place.spawn(Path::new("haproxy"), &["-W", "-f", &cfg])
    }

    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        write(&running.place)?;
        running.signal("USR2")
    }

    /// The master executes itself again as the same process, with the current program file.
    fn restart(&self, running: &mut Running<'_>) -> Result<()> {
        self.reload(running)
    }

    fn restarts(&self) -> bool {
        true
    }
}

pub(super) fn write(place: &Place<'_>) -> Result<String> {
    let hosts: String = place.setup.names().iter().map(|name| format!("{name} origin\n")).collect();
    let hosts = place.write("hosts.map", &hosts)?.display().to_string();
    let proxy_pem = place.joined("proxy.pem", &place.lab.proxy)?.display().to_string();
    let certificates = certificates(place)?;
    let upstreams = place.each_upstream(|n, address| format!("    server upstream-{n} {address}"));
    let cfg = place.fill(
        include_str!("../../../../bench/peers/haproxy.cfg"),
        &[
            ("hosts", &hosts),
            ("proxy_pem", &proxy_pem),
            ("certificates", &certificates),
            ("upstreams", &upstreams),
        ],
    )?;
    Ok(place.write("haproxy.cfg", &cfg)?.display().to_string())
}

/// A file, or a directory of files, with certificates and their keys.
fn certificates(place: &Place<'_>) -> Result<String> {
    if !place.setup.own_certificates {
        return Ok(place.joined("server.pem", &place.lab.server)?.display().to_string());
    }
    let directory = place.directory.join("certificates");
    fs::create_dir_all(&directory)?;
    for (name, pair) in place.setup.names().iter().zip(&place.certificates) {
        place.joined(&format!("certificates/{name}.pem"), pair)?;
    }
    Ok(directory.display().to_string())
}
