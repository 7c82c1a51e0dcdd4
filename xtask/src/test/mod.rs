//! `cargo xtask test`: every check, the fastest first.

mod deny;
mod steps;
mod summary;
mod tee;

use std::{env, io::IsTerminal, path::PathBuf};

use anyhow::{Result, ensure};

use crate::{
    bench::instructions,
    command::{cargo, run, target},
    demo, ebpf, packages,
};
use steps::Steps;
use summary::Summary;

/// Runs all checks, even after a failure, and fails if any has failed.
pub(crate) fn run_all() -> Result<()> {
    packages::ensure(packages::TEST)?;
    let mut steps = Steps::default();
    steps.cargo("fmt --all --check");
    steps.cargo("fmt --manifest-path ebpf/Cargo.toml --check");
    steps.cargo("clippy --workspace --all-targets --features portcullis/bench -- --deny warnings");
    steps.run("cargo deny check bans licenses sources", deny::check);
    steps.run("cargo doc --workspace --no-deps", || {
        run(cargo("doc --workspace --no-deps").env("RUSTDOCFLAGS", "--deny warnings"))
    });
    steps.run("cargo xtask source", crate::source::check);
    // Before the build of the binary: the count replaces it with one without debug assertions.
    steps.run("cargo xtask bench instructions --check", instructions::check);
    // As a separate build, like a release: the workspace's tests enable more features, for example
    // tokio's.
    steps.cargo("build --package portcullis");
    steps.run("cargo xtask demo --once", || demo::check(binary()));
    steps.run("cargo xtask demo --sign-in --once", || demo::check_sign_in(binary()));
    steps.run("cargo xtask ebpf --check", ebpf::check);
    let mut summary = Summary::default();
    steps.run("cargo test --workspace --no-fail-fast", || test(&mut summary));
    steps.conclude(&summary)
}

fn test(summary: &mut Summary) -> Result<()> {
    let mut test = cargo("test --workspace --no-fail-fast");
    test.env("PORTCULLIS_BIN", binary());
    if std::io::stderr().is_terminal() {
        test.env("CARGO_TERM_COLOR", "always");
    }
    let status = tee::run(&mut test, |line| summary.read(line))?;
    ensure!(status.success(), "cargo test: {status}");
    ensure!(summary.passed > 0, "cargo test ran no test at all");
    ensure!(summary.not_run.is_empty() || !in_ci(), "a test was not run, which CI does not accept");
    Ok(())
}

fn binary() -> PathBuf {
    target().join("debug/portcullis")
}

fn in_ci() -> bool {
    env::var("CI").is_ok_and(|ci| ci == "true")
}
