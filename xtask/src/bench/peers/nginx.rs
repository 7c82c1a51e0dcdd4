//! nginx, from Debian.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Absent, Peer, Place, Running, after, said_by};
use crate::{
    command::{command, is_installed, path_of},
    packages,
    process::Process,
};

/// Up to this number, each host has its own `server`; more hosts share one, with a map to the
/// upstreams.
const MANY: usize = 100;

struct Nginx;

pub(super) fn find() -> Result<Box<dyn Peer>, Absent> {
    if is_installed("nginx") {
        return Ok(Box::new(Nginx));
    }
    Err(Absent { id: "nginx".into(), reason: packages::how_to_get("nginx") })
}

impl Peer for Nginx {
    fn id(&self) -> &str {
        "nginx"
    }

    fn version(&self) -> String {
        let said = said_by(command("nginx").arg("-V"));
        let version = after(&said, "nginx version: ").unwrap_or("nginx");
        format!("{version}, {}", after(&said, "built with ").unwrap_or("?"))
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        let conf = place.write("nginx.conf", &conf(place)?)?.display().to_string();
        // The full path, since nginx starts its successor by the name it was started with.
        let program = path_of("nginx").context("nginx has ended")?.display().to_string();
        let pid_file = pid_file(place);
        let _ = fs::remove_file(&pid_file);
        // If its parent stays alive, nginx takes the parent for a former nginx that it replaces,
        // and ignores USR2. So the parent here, a subshell, ends at once.
        let orphan =
            "(\"$0\" -c \"$1\" & until [ -s \"$2\" ]; do sleep 0.01; done) && exec sleep infinity";
        let pid_file = pid_file.display().to_string();
        place.spawn(Path::new("sh"), &["-c", orphan, &program, &conf, &pid_file])
    }

    fn pid_file(&self, place: &Place<'_>) -> Option<PathBuf> {
        Some(pid_file(place))
    }

    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        running.place.write("nginx.conf", &conf(&running.place)?)?;
        running.signal("HUP")
    }

    /// A second master takes over the listeners; then the former one is told to finish.
    fn restart(&self, running: &mut Running<'_>) -> Result<()> {
        let former = running.id();
        running.signal("USR2")?;
        let next = running.wait_for_id(&pid_file(&running.place), |id| id != former)?;
        running.signal("QUIT")?;
        running.adopt(next);
        Ok(())
    }

    fn restarts(&self) -> bool {
        true
    }
}

fn pid_file(place: &Place<'_>) -> PathBuf {
    place.directory.join("nginx.pid")
}

pub(super) fn conf(place: &Place<'_>) -> Result<String> {
    let upstreams =
        place.each_upstream(|_, address| format!("        server {address} max_fails=0;"));
    let names = place.setup.names();
    let servers = if place.setup.own_certificates {
        let each = names.iter().zip(&place.certificates).map(|(name, pair)| {
            let (certificate, key) = (pair.certificate.display(), pair.key.display());
            server(place, name, &certificate.to_string(), &key.to_string(), "origin")
        });
        each.collect()
    } else if names.len() > MANY {
        let map: String = names.iter().map(|name| format!("        {name} origin;\n")).collect();
        let map = format!("    map $host $origin {{\n        default \"\";\n{map}    }}\n");
        let zone = format!("*.{}", crate::rig::ZONE);
        map + &shared(place, &zone, "$origin")
    } else {
        names.iter().map(|name| shared(place, name, "origin")).collect::<String>()
    };
    let template = include_str!("../../../../bench/peers/nginx.conf");
    place.fill(template, &[("upstreams", &upstreams), ("servers", &servers)])
}

fn shared(place: &Place<'_>, name: &str, origin: &str) -> String {
    let pair = &place.lab.server;
    let (certificate, key) = (pair.certificate.display(), pair.key.display());
    server(place, name, &certificate.to_string(), &key.to_string(), origin)
}

fn server(place: &Place<'_>, name: &str, certificate: &str, key: &str, origin: &str) -> String {
    format!(
        "    server {{\n        listen {} ssl http2;\n        server_name {name};\n        \
         ssl_certificate {certificate};\n        ssl_certificate_key {key};\n        \
         location / {{ proxy_pass https://{origin}; }}\n    }}\n",
        place.edge
    )
}
