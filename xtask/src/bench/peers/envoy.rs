//! Envoy, from a Python wheel that contains only its program.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Absent, Peer, Place, Running, said_by};
use crate::{bench::install, command::command, process::Process};

struct Envoy(PathBuf);

pub(super) fn find(directory: &Path) -> Result<Box<dyn Peer>, Absent> {
    let program = install::ENVOY.program(directory);
    if program.is_file() {
        return Ok(Box::new(Envoy(program)));
    }
    Err(Absent { id: "envoy".into(), reason: install::ENVOY.how_to_get(directory) })
}

impl Peer for Envoy {
    fn id(&self) -> &str {
        "envoy"
    }

    fn version(&self) -> String {
        let said = said_by(command(&self.0).arg("--version"));
        let version = said.lines().find_map(|line| line.split_once("version: ")).map(|(_, v)| v);
        // commit/1.40.0/Clean/RELEASE/BoringSSL
        let parts: Vec<_> = version.unwrap_or("?").trim().split('/').collect();
        format!("Envoy {}, {}", parts.get(1).unwrap_or(&"?"), parts.last().unwrap_or(&"?"))
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        self.spawn(place, 0)
    }

    /// Reloads through the files that Envoy watches; it reacts to a rename.
    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        let place = &running.place;
        // A listener that changes is drained, so it changes only if there is another certificate.
        if place.setup.own_certificates {
            place.write("listeners.yaml", &listeners(place)?)?;
        }
        place.write("routes.yaml", &routes(place)?)?;
        Ok(())
    }

    /// Envoy's hot restart: the next process asks this one for its listeners, and then to drain.
    fn restart(&self, running: &mut Running<'_>) -> Result<()> {
        let next = self.spawn(&running.place, 1)?;
        running.succeed(next);
        Ok(())
    }

    fn restarts(&self) -> bool {
        true
    }
}

impl Envoy {
    fn spawn(&self, place: &Place<'_>, epoch: u32) -> Result<Process> {
        place.write("listeners.yaml", &listeners(place)?)?;
        place.write("routes.yaml", &routes(place)?)?;
        let config = place.write("envoy.yaml", &bootstrap(place)?)?.display().to_string();
        let workers = place.setup.workers.to_string();
        // The processes of one proxy find each other by this number.
        let base = place.edge.port().to_string();
        let epoch = epoch.to_string();
        let mut arguments = vec!["--config-path", &config, "--concurrency", &workers];
        arguments.extend(["--log-level", "error", "--base-id", &base, "--restart-epoch", &epoch]);
        arguments.extend(["--drain-time-s", "3", "--parent-shutdown-time-s", "5"]);
        place.spawn(&self.0, &arguments)
    }
}

pub(super) fn bootstrap(place: &Place<'_>) -> Result<String> {
    let upstreams = place.each_upstream(|_, address| {
        format!(
            "        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}",
            address.ip(),
            address.port()
        )
    });
    place.fill(include_str!("../../../../bench/peers/envoy.yaml"), &[("upstreams", &upstreams)])
}

pub(super) fn listeners(place: &Place<'_>) -> Result<String> {
    let template = include_str!("../../../../bench/peers/envoy-chain.yaml");
    let chains = if place.setup.own_certificates {
        let names = place.setup.names();
        let each = names.iter().zip(&place.certificates).map(|(name, pair)| {
            let own = [
                ("server_cert", &*pair.certificate.display().to_string()),
                ("server_key", &*pair.key.display().to_string()),
                ("server_names", name),
            ];
            place.fill(template, &own)
        });
        each.collect::<Result<String>>()?
    } else {
        // All names share one certificate, and so one filter chain.
        let zone = format!("\"*.{}\"", crate::rig::ZONE);
        place.fill(template, &[("server_names", &zone)])?
    };
    let template = include_str!("../../../../bench/peers/envoy-listeners.yaml");
    place.fill(template, &[("chains", &chains)])
}

pub(super) fn routes(place: &Place<'_>) -> Result<String> {
    let template = include_str!("../../../../bench/peers/envoy-routes.yaml");
    place.fill(template, &[("domains", &place.setup.names().join(", "))])
}
