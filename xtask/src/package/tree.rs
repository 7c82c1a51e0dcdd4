//! The files that a package installs, staged at the places where they will be.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::Release;
use crate::command::{command, root, run, said_by};

/// Files of the source tree, each with its place in the package.
const FILES: &[(&str, &str)] = &[
    ("packaging/config.yaml", "etc/portcullis/config.yaml"),
    ("packaging/portcullis.service", "usr/lib/systemd/system/portcullis.service"),
    ("packaging/sysctl.conf", "usr/lib/sysctl.d/50-portcullis.conf"),
    ("packaging/prometheus/portcullis.rules.yaml", "usr/share/portcullis/portcullis.rules.yaml"),
    ("packaging/grafana/portcullis.json", "usr/share/portcullis/grafana-dashboard.json"),
    ("packaging/debian/copyright", "usr/share/doc/portcullis/copyright"),
    ("packaging/debian/lintian-overrides", "usr/share/lintian/overrides/portcullis"),
    ("README.md", "usr/share/doc/portcullis/README.md"),
];

/// Shells, each with the place of its completions.
const COMPLETIONS: &[(&str, &str)] = &[
    ("bash", "usr/share/bash-completion/completions/portcullis"),
    ("zsh", "usr/share/zsh/vendor-completions/_portcullis"),
    ("fish", "usr/share/fish/vendor_completions.d/portcullis.fish"),
];

/// Stages everything below `tree`, and returns it.
pub(super) fn stage(tree: &Path, binary: &Path, sbom: &Path, release: &Release) -> Result<PathBuf> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    let program = put(tree, binary, "usr/bin/portcullis")?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    strip(&program)?;
    for (source, place) in FILES {
        put(tree, &root().join(source), place)?;
    }
    for entry in fs::read_dir(root().join("docs"))? {
        let page = entry?.path();
        let name = page.file_name().context("a page has a name")?.to_string_lossy().into_owned();
        put(tree, &page, &format!("usr/share/doc/portcullis/{name}"))?;
    }
    put(tree, sbom, "usr/share/doc/portcullis/sbom.cdx.json")?;
    completions(tree, binary)?;
    manual(tree, binary)?;
    changelog(tree, release)?;
    Ok(tree.to_owned())
}

/// Removes what only debuggers and linkers read.
pub(super) fn strip(program: &Path) -> Result<()> {
    run(command("strip").args(["--strip-unneeded", "--remove-section=.comment"]).arg(program))
}

fn put(tree: &Path, source: &Path, place: &str) -> Result<PathBuf> {
    let target = make_room(tree, place)?;
    fs::copy(source, &target).with_context(|| format!("cannot copy {}", source.display()))?;
    fs::set_permissions(&target, fs::Permissions::from_mode(0o644))?;
    Ok(target)
}

/// The path of a file that is to be written, in a directory that exists.
fn make_room(tree: &Path, place: &str) -> Result<PathBuf> {
    let target = tree.join(place);
    let directory = target.parent().context("a file is in a directory")?;
    fs::create_dir_all(directory)?;
    Ok(target)
}

fn completions(tree: &Path, binary: &Path) -> Result<()> {
    for (shell, place) in COMPLETIONS {
        let script = said_by(command(binary).args(["completions", shell]))?;
        fs::write(make_room(tree, place)?, script)?;
    }
    Ok(())
}

fn manual(tree: &Path, binary: &Path) -> Result<()> {
    let directory = tree.join("usr/share/man/man1");
    fs::create_dir_all(&directory)?;
    run(command(binary).arg("manual").arg(&directory))?;
    for entry in fs::read_dir(&directory)? {
        let page = entry?.path();
        run(command("mandoc").args(["-Tlint", "-Werror"]).arg(&page))?;
        compress(&page)?;
    }
    Ok(())
}

/// One entry, for the version: the history is the repository's.
fn changelog(tree: &Path, release: &Release) -> Result<()> {
    let date = said_by(command("date").args(["-u", "-R", "-d", &format!("@{}", release.time)]))?;
    let text = format!(
        "portcullis ({}) unstable; urgency=medium\n\n  * Release {0}.\n\n \
         -- The Portcullis authors <portcullis@example.com>  {}\n",
        release.version,
        date.trim()
    );
    let changelog = make_room(tree, "usr/share/doc/portcullis/changelog")?;
    fs::write(&changelog, text)?;
    compress(&changelog)
}

/// `-n`: without the file's name and time, so that equal files become equal archives.
fn compress(file: &Path) -> Result<()> {
    run(command("gzip").args(["-9", "-n", "-f"]).arg(file))
}
