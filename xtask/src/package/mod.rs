//! `cargo xtask package`: the proxy as a Debian package and as a container image.
//!
//! Everything that is installed is staged as a tree of files, from `packaging/`, the documents and the
//! binary. The tree becomes a `.deb`, and the binary alone an image without a distribution. The same
//! binary and the same commit give the same bytes: all files have the time of the commit.

mod deb;
mod elf;
mod image;
mod sbom;
mod tree;

use std::{env, fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{
    command::{command, root, said_by, target},
    packages,
};

/// Package the proxy, into `target/package/`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary to package; `cargo xtask dist` makes the default.
    #[arg(long, value_name = "FILE", default_value = "target/dist/portcullis")]
    binary: PathBuf,
    /// Build a static binary and a container image too.
    #[arg(long)]
    image: bool,
}

pub(crate) fn run_with(options: &Options) -> Result<()> {
    packages::ensure(packages::PACKAGE)?;
    let binary = root().join(&options.binary);
    ensure!(
        binary.is_file(),
        "{} does not exist: `cargo xtask dist` builds the binary for deployment",
        options.binary.display()
    );
    let release = Release::of_this_tree()?;
    let directory = target().join("package");
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;

    let sbom = sbom::write(&directory, &release)?;
    let tree = tree::stage(&directory.join("tree"), &binary, &sbom, &release)?;
    deb::build(&tree, &directory, &release)?;
    if options.image {
        image::build(&directory, &release)?;
    }
    Ok(())
}

/// What is packaged.
struct Release {
    /// `0.1.0`
    version: String,
    /// Seconds since the epoch: the time of every file.
    time: u64,
}

impl Release {
    /// The version of the workspace, at the time of its last commit or of `SOURCE_DATE_EPOCH`
    /// (<https://reproducible-builds.org/specs/source-date-epoch/>).
    fn of_this_tree() -> Result<Release> {
        let time = match env::var("SOURCE_DATE_EPOCH") {
            Ok(time) => time,
            Err(_) => said_by(command("git").args(["log", "-1", "--format=%ct"]))?,
        };
        let time = time.trim().parse().context("SOURCE_DATE_EPOCH is not a number of seconds")?;
        Ok(Release { version: env!("CARGO_PKG_VERSION").to_owned(), time })
    }
}
