//! The container image: a static binary in an empty root, built by umoci without a daemon.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{Release, tree::strip};
use crate::command::{cargo, command, root, run, said_by, target};

/// The user of the process: no name is needed for it.
const USER: &str = "65532:65532";
/// Where OpenSSL and rustls look for the roots of the system.
const ROOTS: &str = "etc/ssl/certs/ca-certificates.crt";

/// Writes the image as `portcullis-VERSION.oci.tar`, in the layout of the Open Container Initiative.
pub(super) fn build(directory: &Path, release: &Release) -> Result<()> {
    let binary = static_binary()?;
    let layout = directory.join("image");
    let bundle = directory.join("bundle");
    for old in [&layout, &bundle] {
        if old.exists() {
            fs::remove_dir_all(old)?;
        }
    }
    let tagged = format!("{}:{}", layout.display(), release.version);
    run(command("umoci").args(["init", "--layout"]).arg(&layout))?;
    run(command("umoci").args(["new", "--image", &tagged]))?;
    run(command("umoci").args(["unpack", "--image", &tagged]).arg(&bundle))?;
    fill(&bundle.join("rootfs"), &binary)?;
    set_times(&bundle.join("rootfs"), release)?;
    run(command("umoci").args(["repack", "--image", &tagged]).arg(&bundle))?;
    configure(&tagged, release)?;

    let name = format!("portcullis-{}.oci.tar", release.version);
    let mut tar = command("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner"]);
    tar.arg(format!("--mtime=@{}", release.time)).arg("-cf").arg(directory.join(&name));
    run(tar.arg("-C").arg(&layout).arg("."))?;
    println!("* Built target/package/{name}");
    Ok(())
}

/// `--target` keeps the flag from build scripts and macros, which cannot be static.
fn static_binary() -> Result<PathBuf> {
    let host = said_by(command("rustc").arg("-vV"))?;
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc's host")?;
    let build = target().join("package/static");
    let mut cargo = cargo(&format!("build --release --package portcullis --target {host}"));
    cargo.env("CARGO_TARGET_DIR", &build).env("RUSTFLAGS", "-Ctarget-feature=+crt-static");
    run(&mut cargo)?;
    Ok(build.join(host).join("release/portcullis"))
}

fn fill(rootfs: &Path, binary: &Path) -> Result<()> {
    let program = rootfs.join("usr/bin/portcullis");
    for directory in ["usr/bin", "etc/portcullis", "etc/ssl/certs", "run/portcullis"] {
        fs::create_dir_all(rootfs.join(directory))?;
    }
    fs::copy(binary, &program)?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    strip(&program)?;
    fs::copy(root().join("packaging/config.yaml"), rootfs.join("etc/portcullis/config.yaml"))?;
    let roots = Path::new("/").join(ROOTS);
    fs::copy(&roots, rootfs.join(ROOTS)).with_context(|| {
        format!("{} is missing: apt-get install ca-certificates", roots.display())
    })?;
    run(command("chown").args(["-R", USER]).arg(rootfs.join("run/portcullis")))
}

fn set_times(rootfs: &Path, release: &Release) -> Result<()> {
    let time = format!("@{}", release.time);
    run(command("find").arg(rootfs).args(["-exec", "touch", "-h", "-d", &time, "{}", "+"]))
}

fn configure(tagged: &str, release: &Release) -> Result<()> {
    let mut config = command("umoci");
    let date =
        said_by(command("date").args(["-u", "-Iseconds", "-d", &format!("@{}", release.time)]))?;
    config.args(["config", "--image", tagged, "--config.user", USER]);
    config.args(["--created", date.trim(), "--history.created", date.trim()]);
    config.args(["--config.entrypoint", "/usr/bin/portcullis", "--config.cmd", "run"]);
    config.args(["--config.env", "RUNTIME_DIRECTORY=/run/portcullis"]);
    // The installed configuration answers to this machine alone, which a container is not.
    config.args(["--config.env", "ADDRESS=:8080"]);
    config.args(["--config.exposedports", "8080/tcp", "--config.volume", "/etc/portcullis"]);
    config.args(["--config.stopsignal", "SIGTERM"]);
    run(&mut config)
}
