//! `cargo xtask ebpf`: the kernel programs, from source to the object that the proxy carries.

use std::{env, fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    command::{cargo, command, root, run, said_by, search_path, target},
    packages,
};

const LINKER_VERSION: &str = "0.13.0";
const LLVM: &str = "/usr/lib/llvm-22";
/// Debian's Rust, which has the core library for BPF; rustup has that only for nightly.
const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";

const TARGET: &str = "bpfel-unknown-none";
const OBJECT: &str = "ebpf/steer.bpf.o";
/// The record of the tools that [`OBJECT`] was built with.
const RECORD: &str = "ebpf/steer.bpf.txt";

/// Options of `cargo xtask ebpf`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Build the object and compare it with the committed one, which stays unchanged.
    #[arg(long)]
    check: bool,
}

/// Builds the object, or checks it.
pub(crate) fn run_with(options: &Options) -> Result<()> {
    if options.check { check() } else { build_and_keep() }
}

/// Fails if the committed object differs from a build of its source.
///
/// Another compiler may produce other bytes. Then the tests of the built object decide.
pub(crate) fn check() -> Result<()> {
    let fresh = build()?;
    if fresh == fs::read(root().join(OBJECT))? {
        println!("{OBJECT} is up to date.");
        return Ok(());
    }
    let (recorded, here) = (fs::read_to_string(root().join(RECORD))?, tools()?);
    if recorded == here {
        bail!("{OBJECT} differs from a build of its source; run `cargo xtask ebpf`");
    }
    println!("{OBJECT} was built with\n{recorded}This machine has\n{here}The tests decide.");
    with_object(&fresh, || {
        run(&mut cargo(
            "test --package portcullis-tests --test steering_parser --test steering_programs",
        ))
    })
}

fn build_and_keep() -> Result<()> {
    let object = build()?;
    fs::write(root().join(OBJECT), &object)?;
    fs::write(root().join(RECORD), tools()?)?;
    println!("{OBJECT}: {} bytes", object.len());
    Ok(())
}

/// Runs `act` with another object in place of the committed one.
fn with_object(object: &[u8], act: impl FnOnce() -> Result<()>) -> Result<()> {
    let path = root().join(OBJECT);
    let committed = fs::read(&path)?;
    fs::write(&path, object)?;
    let outcome = act();
    fs::write(&path, committed)?;
    outcome
}

/// The stripped object.
fn build() -> Result<Vec<u8>> {
    packages::ensure(packages::EBPF)?;
    ensure_linker()?;
    run(&mut compiler()?)?;
    let directory = build_directory().join(TARGET).join("release");
    let stripped = directory.join("steer.bpf.o");
    // Strips debug information but keeps BTF, from which the loader reads map definitions.
    let strip = PathBuf::from(LLVM).join("bin/llvm-strip");
    run(command(strip).arg("-g").arg("-o").arg(&stripped).arg(directory.join("steer")))?;
    fs::read(&stripped).with_context(|| format!("cannot read {}", stripped.display()))
}

fn compiler() -> Result<Command> {
    let mut path = tools_directory().join("bin").into_os_string();
    path.push(":");
    path.push(search_path());
    let mut build = command(CARGO);
    build
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--manifest-path=ebpf/Cargo.toml")
        .env("PATH", path)
        .env("RUSTC", RUSTC)
        // Rust for BPF is unstable: these two crates use nightly features.
        .env("RUSTC_BOOTSTRAP", "aya_ebpf,steer")
        .env("CARGO_ENCODED_RUSTFLAGS", flags()?.join("\x1f"))
        .env("CARGO_TARGET_DIR", build_directory())
        .env_remove("RUSTUP_TOOLCHAIN");
    Ok(build)
}

/// The flags, including those that keep paths of this machine out of the object.
fn flags() -> Result<Vec<String>> {
    let cargo_home = match (env::var("CARGO_HOME"), env::var("HOME")) {
        (Ok(directory), _) => directory,
        (_, Ok(home)) => format!("{home}/.cargo"),
        _ => bail!("neither CARGO_HOME nor HOME is set"),
    };
    let sysroot = said_by(command(RUSTC).args(["--print", "sysroot"]))?;
    Ok(vec![
        "-Cdebuginfo=2".to_owned(),
        "-Clinker=bpf-linker".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={}=/portcullis", root().display()),
        format!("--remap-path-prefix={cargo_home}=/cargo"),
        format!("--remap-path-prefix={}=/rust", sysroot.trim()),
    ])
}

fn ensure_linker() -> Result<()> {
    let linker = tools_directory().join("bin/bpf-linker");
    let version = command(&linker).arg("--version").output();
    let wanted = format!("bpf-linker {LINKER_VERSION}");
    if version.is_ok_and(|said| said.stdout.trim_ascii() == wanted.as_bytes()) {
        return Ok(());
    }
    println!("Building {wanted} into target/tools: once, for some minutes");
    // No optimisation: most of the linker's time is spent in LLVM, which is Debian's.
    let options = "install --locked --debug --no-default-features --features llvm-22 --root";
    let package = format!("bpf-linker@{LINKER_VERSION}");
    run(cargo(options).arg(tools_directory()).arg(package).env("LLVM_PREFIX", LLVM))
}

/// The versions that an object depends on.
fn tools() -> Result<String> {
    let rustc = said_by(command(RUSTC).arg("--version"))?;
    let linker = said_by(command(tools_directory().join("bin/bpf-linker")).arg("--version"))?;
    let llvm = said_by(command(format!("{LLVM}/bin/llvm-config")).arg("--version"))?;
    Ok(format!("{rustc}{linker}LLVM {llvm}"))
}

fn tools_directory() -> PathBuf {
    target().join("tools")
}

fn build_directory() -> PathBuf {
    target().join("ebpf")
}
