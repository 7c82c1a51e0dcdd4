//! Caddy, from a Python wheel that contains only its program.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Absent, Peer, Place, Running, Setup, after, said_by};
use crate::{
    bench::install,
    command::{command, run},
    process::Process,
};

struct Caddy(PathBuf);

pub(super) fn find(directory: &Path) -> Result<Box<dyn Peer>, Absent> {
    let program = install::CADDY.program(directory);
    if program.is_file() {
        return Ok(Box::new(Caddy(program)));
    }
    Err(Absent { id: "caddy".into(), reason: install::CADDY.how_to_get(directory) })
}

impl Peer for Caddy {
    fn id(&self) -> &str {
        "caddy"
    }

    fn version(&self) -> String {
        let version = said_by(command(&self.0).arg("version"));
        let build = said_by(command(&self.0).arg("build-info"));
        let version = version.split_whitespace().next().unwrap_or("?").trim_start_matches('v');
        format!("Caddy {version}, {} crypto/tls", after(&build, "go\t").unwrap_or("Go"))
    }

    fn lacks(&self, setup: &Setup) -> Option<&'static str> {
        setup
            .own_certificates
            .then_some("the benchmark has no Caddyfile with a site for each certificate")
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        let file = place.write("Caddyfile", &caddyfile(place)?)?.display().to_string();
        // Caddy writes an ID of its instance to `caddy/` below this directory, or below the working
        // directory if HOME is not set either.
        let data = format!("XDG_DATA_HOME={}", place.directory.display());
        let program = self.0.display().to_string();
        let run = ["run", "--adapter", "caddyfile", "--config", &file];
        let arguments: Vec<&str> = [&*data, &*program].into_iter().chain(run).collect();
        place.spawn(Path::new("env"), &arguments)
    }

    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        let place = &running.place;
        let file = place.write("Caddyfile", &caddyfile(place)?)?;
        let mut reload = command(&self.0);
        reload.args(["reload", "--adapter", "caddyfile", "--config"]).arg(file);
        reload.args(["--address", &place.admin.to_string()]);
        let log = std::fs::File::create(place.directory.join("reload.log"))?;
        run(reload.stdout(log.try_clone()?).stderr(log))
    }
}

pub(super) fn caddyfile(place: &Place<'_>) -> Result<String> {
    let sites: Vec<_> = place
        .setup
        .names()
        .iter()
        .map(|name| format!("https://{name}:{}", place.edge.port()))
        .collect();
    let upstreams =
        place.upstreams().iter().map(|one| format!("https://{one}")).collect::<Vec<_>>();
    place.fill(
        include_str!("../../../../bench/peers/Caddyfile"),
        &[("sites", &sites.join(", ")), ("upstreams", &upstreams.join(" "))],
    )
}
