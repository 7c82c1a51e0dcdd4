//! The tool that merges raw profiles. Its major version must be that of rustc's own LLVM.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::command::{command, run};

/// The major version of LLVM in the pinned rustc, and so of the package.
const MAJOR: &str = "22";

/// The versions that rustc reports.
pub(super) struct Llvm {
    /// The target that rustc builds for by default.
    pub(super) host: String,
}

impl Llvm {
    /// Fails if rustc's LLVM has another major version than the tool.
    pub(super) fn of_rustc() -> Result<Self> {
        let output = command("rustc").arg("-vV").output().context("cannot run rustc")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = value(&said, "LLVM version")?;
        ensure!(
            version.split('.').next() == Some(MAJOR),
            "rustc has LLVM {version}, and llvm-profdata is that of LLVM {MAJOR}: change \
             xtask/src/dist/llvm.rs with rust-toolchain.toml"
        );
        Ok(Self { host: value(&said, "host")?.to_owned() })
    }

    /// Merges all raw profiles of a directory into one.
    pub(super) fn merge(&self, raw: &Path, into: &Path) -> Result<()> {
        let profiles = fs::read_dir(raw)?.map(|entry| Ok(entry?.path()));
        let profiles = profiles.collect::<Result<Vec<_>>>()?;
        ensure!(!profiles.is_empty(), "the run wrote no profile in {}", raw.display());
        let mut merge = command(format!("llvm-profdata-{MAJOR}"));
        run(merge.arg("merge").arg("-o").arg(into).args(profiles))
    }
}

fn value<'a>(said: &'a str, name: &str) -> Result<&'a str> {
    let of = |line: &'a str| line.strip_prefix(name)?.strip_prefix(": ");
    said.lines().find_map(of).with_context(|| format!("rustc -vV does not say its {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_rustc_has_the_llvm_that_profiles_are_merged_for() {
        assert!(Llvm::of_rustc().unwrap().host.contains("linux"));
    }

    #[test]
    fn a_value_is_read_by_its_name() {
        let said = "rustc 1.0\nhost: x86_64-unknown-linux-gnu\nLLVM version: 22.1.2\n";
        assert_eq!(value(said, "LLVM version").unwrap(), "22.1.2");
        assert!(value(said, "release").is_err());
    }
}
