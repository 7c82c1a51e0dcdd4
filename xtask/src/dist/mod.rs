//! `cargo xtask dist`: the proxy for deployment, optimised for the usual work of an edge.
//!
//! There are two builds with a run between them: an instrumented build, a run of an edge's work
//! through it (requests on connections that stay open, handshakes, large responses, HTTP/2), and
//! the final build with the profile of that run
//! (<https://doc.rust-lang.org/rustc/profile-guided-optimization.html>).

mod llvm;
mod training;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    command::{cargo, root, run as run_command, target},
    packages,
};
use llvm::Llvm;

/// Builds `target/dist/portcullis`.
pub(crate) fn run() -> Result<()> {
    packages::ensure(packages::DIST)?;
    let llvm = Llvm::of_rustc()?;
    let directory = target().join("dist");
    let raw = directory.join("raw");
    clear(&raw)?;

    println!("* Building twice, with instrumentation and with its profile: some minutes each");
    let instrumented = build(&llvm, &directory, &format!("-Cprofile-generate={}", raw.display()))?;
    training::run(&directory, &instrumented)?;
    let profile = directory.join("portcullis.profdata");
    llvm.merge(&raw, &profile)?;
    let binary = build(&llvm, &directory, &format!("-Cprofile-use={}", profile.display()))?;

    let place = directory.join("portcullis");
    fs::copy(&binary, &place).with_context(|| format!("cannot write {}", place.display()))?;
    println!("* Built {}", place.strip_prefix(root()).unwrap_or(&place).display());
    Ok(())
}

fn clear(directory: &Path) -> Result<()> {
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))
}

/// `--target` keeps the flags from build scripts and macros.
fn build(llvm: &Llvm, directory: &Path, flags: &str) -> Result<PathBuf> {
    let arguments = format!("build --release --package portcullis --target {}", llvm.host);
    let build = directory.join("build");
    run_command(cargo(&arguments).env("CARGO_TARGET_DIR", &build).env("RUSTFLAGS", flags))?;
    Ok(build.join(&llvm.host).join("release/portcullis"))
}
