//! The Debian package: `dpkg-deb` makes it of the staged tree, and `lintian` judges it.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf};

use anyhow::{Context, Result};

use super::{Release, elf};
use crate::command::{command, root, run, said_by};

/// Files whose changes by the administrator an upgrade keeps.
const CONFFILES: &str = "/etc/portcullis/config.yaml\n";

/// Builds the package, and fails if lintian finds an error or a warning.
pub(super) fn build(tree: &Path, directory: &Path, release: &Release) -> Result<()> {
    let architecture = said_by(command("dpkg").arg("--print-architecture"))?.trim().to_owned();
    let about = tree.join("DEBIAN");
    fs::create_dir_all(&about)?;
    fs::write(about.join("control"), control(tree, &architecture, release)?)?;
    fs::write(about.join("conffiles"), CONFFILES)?;
    for script in ["postinst", "prerm", "postrm"] {
        let target = about.join(script);
        fs::copy(root().join("packaging/debian").join(script), &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(about.join("md5sums"), checksums(tree)?)?;

    let name = format!("portcullis_{}_{architecture}.deb", release.version);
    let package = directory.join(&name);
    // Whatever the umask was.
    run(command("chmod").args(["-R", "u=rwX,go=rX"]).arg(tree))?;
    let mut deb = command("dpkg-deb");
    deb.env("SOURCE_DATE_EPOCH", release.time.to_string());
    run(deb.args(["--build", "--root-owner-group"]).arg(tree).arg(&package))?;
    run(command("lintian").args(["--fail-on", "error,warning"]).arg(&package))?;
    println!("* Built target/package/{name}");
    Ok(())
}

fn control(tree: &Path, architecture: &str, release: &Release) -> Result<String> {
    let glibc = elf::glibc_version(&tree.join("usr/bin/portcullis"))?;
    let size = installed_size_kib(tree)?;
    Ok(format!(
        "Package: portcullis\n\
         Version: {}\n\
         Architecture: {architecture}\n\
         Maintainer: The Portcullis authors <portcullis@example.com>\n\
         Installed-Size: {size}\n\
         Depends: adduser, init-system-helpers (>= 1.52), libc6 (>= {glibc}), libgcc-s1\n\
         Recommends: ca-certificates\n\
         Section: net\n\
         Priority: optional\n\
         Homepage: https://example.com/portcullis\n\
         Description: identity-aware TLS edge proxy\n \
         Portcullis asks clients for certificates or signs users in by OpenID Connect,\n \
         evaluates policies, and forwards to upstreams over pooled mutual TLS. It reads\n \
         the configuration of Pomerium. An eBPF program steers each connection by its\n \
         server name to one of the io_uring workers.\n",
        release.version
    ))
}

/// As dpkg-gencontrol counts it, so that it is the same on every file system: whole KiB for each file,
/// and one for each directory.
fn installed_size_kib(tree: &Path) -> Result<u64> {
    let mut size_kib = 0;
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        size_kib += if entry.file_type()?.is_dir() {
            1 + installed_size_kib(&entry.path())?
        } else {
            entry.metadata()?.len().div_ceil(1024)
        };
    }
    Ok(size_kib)
}

/// MD5 sums of all files but those of the package's own directory, as dpkg verifies them.
fn checksums(tree: &Path) -> Result<String> {
    let mut files = Vec::new();
    files_below(tree, &mut files)?;
    files.sort();
    let mut sums = String::new();
    for file in files {
        let place = file.strip_prefix(tree)?;
        if place.starts_with("DEBIAN") || place.starts_with("etc") {
            continue;
        }
        let said = said_by(command("md5sum").arg(&file))?;
        let sum = said.split_whitespace().next().context("md5sum prints a sum")?;
        sums.push_str(&format!("{sum}  {}\n", place.display()));
    }
    Ok(sums)
}

fn files_below(directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() { files_below(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
