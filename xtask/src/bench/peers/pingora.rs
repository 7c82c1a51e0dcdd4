//! pingora, a library: the small proxy in `bench/peers/pingora`.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Absent, Peer, Place, Running, Setup};
use crate::{bench::install, process::Process};

struct Pingora(PathBuf);

pub(super) fn find(directory: &Path) -> Result<Box<dyn Peer>, Absent> {
    let program = install::pingora_program(directory);
    if program.is_file() {
        return Ok(Box::new(Pingora(program)));
    }
    Err(Absent { id: "pingora".into(), reason: install::how_to_build_pingora(directory) })
}

impl Peer for Pingora {
    fn id(&self) -> &str {
        "pingora"
    }

    fn version(&self) -> String {
        let lock = include_str!("../../../../bench/peers/pingora/Cargo.lock");
        let of = |name| locked(lock, name).unwrap_or("?");
        format!("pingora {}, rustls {}, aws-lc-rs {}", of("pingora"), of("rustls"), of("aws-lc-rs"))
    }

    fn lacks(&self, setup: &Setup) -> Option<&'static str> {
        setup.own_certificates.then_some("the pingora peer has only one certificate")
    }

    fn start(&self, place: &Place<'_>) -> Result<Process> {
        place.spawn(&self.0, &[&settings(place)?])
    }

    /// It reloads only by another process that takes over the listeners.
    fn reload(&self, running: &mut Running<'_>) -> Result<()> {
        self.restart(running)
    }

    fn restart(&self, running: &mut Running<'_>) -> Result<()> {
        let settings = settings(&running.place)?;
        let next = running.place.spawn(&self.0, &[&settings, "--upgrade"])?;
        running.signal("QUIT")?;
        running.succeed(next);
        Ok(())
    }

    fn restarts(&self) -> bool {
        true
    }
}

pub(super) fn settings(place: &Place<'_>) -> Result<String> {
    let upstreams: Vec<_> = place.upstreams().iter().map(ToString::to_string).collect();
    let text = place.fill(
        include_str!("../../../../bench/peers/pingora.settings"),
        &[("upstreams", &upstreams.join(",")), ("names", &place.setup.names().join(","))],
    )?;
    Ok(place.write("pingora.settings", &text)?.display().to_string())
}

/// The version of a package in a `Cargo.lock`.
pub(super) fn locked<'a>(lock: &'a str, name: &str) -> Option<&'a str> {
    let (_, after) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    after.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_locked() {
        let lock = "[[package]]\nname = \"a-b\"\nversion = \"2.0.0\"\n\n[[package]]\n\
                    name = \"a\"\nversion = \"1.2.3\"\n";
        assert_eq!(locked(lock, "a"), Some("1.2.3"));
        assert_eq!(locked(lock, "c"), None);
    }
}
