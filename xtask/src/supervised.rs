//! `cargo xtask supervised`: the unit in containers of Debian 12 and 13 that are booted with their own
//! systemd: start, reload, upgrade, restart and SIGKILL under load, and the package that brings it.
//!
//! The containers share this machine's kernel: `cargo xtask kernels` is for theirs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{cargo, command, is_root, run, target},
    packages,
};

/// The releases, by the names of their archives and of their tests.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// What a tree has beyond the packages that every Debian has.
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,adduser";

/// What the names of the tests of a package begin with.
const PACKAGE_TESTS: &str = "package_";

/// Options of `cargo xtask supervised`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Run the tests whose names contain this text alone, such as `bookworm` or `kernel`.
    #[arg(long, value_name = "TEXT")]
    test: Option<String>,
    /// Test this Debian package, which `cargo xtask package` has made, and nothing else.
    #[arg(long, value_name = "FILE")]
    package: Option<PathBuf>,
}

/// Makes the trees that are missing, 260 MB each, and runs the tests one after another.
pub(crate) fn run_with(options: &Options) -> Result<()> {
    ensure!(is_root(), "containers need root");
    packages::ensure(packages::SUPERVISED)?;
    let trees = target().join("trees");
    fs::create_dir_all(&trees)?;
    for release in RELEASES {
        make(&trees.join(release), release)?;
    }
    let mut test = cargo("test --package portcullis-tests --test supervised --");
    test.args(["--ignored", "--nocapture", "--test-threads=1"]);
    let name = options.test.as_deref().unwrap_or_default();
    if let Some(package) = &options.package {
        let file = fs::canonicalize(package)
            .with_context(|| format!("{}: cargo xtask package makes it", package.display()))?;
        test.env("PORTCULLIS_PACKAGE", file).arg(format!("{PACKAGE_TESTS}{name}"));
    } else {
        run(&mut cargo("build --package portcullis"))?;
        test.args(["--skip", PACKAGE_TESTS, name]);
    }
    run(test.env("PORTCULLIS_TREES", trees))
}

fn make(tree: &Path, release: &str) -> Result<()> {
    if tree.exists() {
        return Ok(());
    }
    println!("\n==> a tree of {release}");
    let partial = tree.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    run(command("debootstrap").args(["--variant=minbase", INCLUDE, release]).arg(&partial))?;
    fs::rename(partial, tree)?;
    Ok(())
}
