//! nginx, from Debian.

use std::path::Path;

use anyhow::Result;

use super::{Absent, Peer, Place, Running, after, said_by};
use crate::{
    command::{command, is_installed},
    packages,
    process::Process,
};

/// So many hosts have a `server` each; more share one, and a map says where they go.
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
        let conf = place.write("nginx.conf", &conf(place)?)?;
        place.spawn(Path::new("nginx"), &["-c", &conf.display().to_string()])
    }

    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        running.place.write("nginx.conf", &conf(&running.place)?)?;
        running.signal("HUP")
    }
}

fn conf(place: &Place<'_>) -> Result<String> {
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
