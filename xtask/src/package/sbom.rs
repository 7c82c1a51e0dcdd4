//! The list of the crates that the binary contains, in CycloneDX's form.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::Release;
use crate::command::{cargo, command, root, run, target};

const VERSION: &str = "0.5.9";
/// The tool writes a file of this name beside the manifest of each package of the workspace.
const NAME: &str = "portcullis-sbom";
/// The packages beside the proxy's, whose files are not wanted.
const OTHERS: &[&str] = &["bench", "ebpf/abi", "tests", "xtask"];

/// Writes the list into `directory`, and returns its path.
pub(super) fn write(directory: &Path, release: &Release) -> Result<PathBuf> {
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-cyclonedx");
    if !program.is_file() {
        println!("Building cargo-cyclonedx {VERSION} into target/tools: once, for some minutes");
        let package = format!("cargo-cyclonedx@{VERSION}");
        run(cargo("install --locked --debug --root").arg(&tools).arg(package))?;
    }
    let mut cyclonedx = command(&program);
    cyclonedx.args(["cyclonedx", "--manifest-path", "proxy/Cargo.toml", "--format", "json"]);
    cyclonedx.args(["--override-filename", NAME, "--quiet"]);
    cyclonedx.env("SOURCE_DATE_EPOCH", release.time.to_string());
    run(&mut cyclonedx)?;
    let list = directory.join("sbom.cdx.json");
    let written = |package: &str| root().join(package).join(NAME).with_extension("json");
    let text =
        fs::read_to_string(written("proxy")).context("cargo-cyclonedx has written no list")?;
    // Where the tree lies on this machine is nobody's business, and differs from build to build.
    fs::write(&list, text.replace(&root().display().to_string(), "/portcullis"))?;
    fs::remove_file(written("proxy"))?;
    // A package without dependencies may have none.
    OTHERS.iter().for_each(|package| drop(fs::remove_file(written(package))));
    Ok(list)
}
