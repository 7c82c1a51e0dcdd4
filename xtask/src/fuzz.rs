//! `cargo xtask fuzz`: runs libFuzzer on the parsers for a while.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{cargo, command, root, run, target};

/// Only nightly supports the sanitizers; nothing else here is built with it.
const TOOLCHAIN: &str = "nightly";
const CARGO_FUZZ_VERSION: &str = "0.13.2";

/// Options of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The targets; all targets if none is named.
    targets: Vec<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// Runs the targets one after the other, until one fails.
pub(crate) fn run_with(options: &Options) -> Result<()> {
    let known = known_targets()?;
    let unknown = options.targets.iter().find(|target| !known.contains(target));
    ensure!(unknown.is_none(), "the targets are {}", known.join(", "));
    ensure_toolchain()?;
    ensure_cargo_fuzz()?;
    let targets = if options.targets.is_empty() { &known } else { &options.targets };
    targets.iter().try_for_each(|target| fuzz(target, options.seconds))
}

fn known_targets() -> Result<Vec<String>> {
    let files = fs::read_dir(root().join("fuzz/fuzz_targets"))?;
    let stem = |file: PathBuf| Some(file.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = files.filter_map(|file| stem(file.ok()?.path())).collect();
    names.sort();
    Ok(names)
}

/// Inputs that it finds go to a separate directory beside the committed corpus, and stay there for
/// the next run.
fn fuzz(name: &str, seconds: u32) -> Result<()> {
    let found = target().join("fuzz").join(name);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    println!("\n==> {name}, {seconds} s");
    let mut fuzz = cargo_fuzz();
    fuzz.args(["run", name]).arg(&found).arg(root().join("fuzz/corpus").join(name));
    fuzz.args(["--", "-max_len=4096", "-timeout=10", "-print_final_stats=1"]);
    // A search for leaks after each input that filled a cache would take most of the time.
    fuzz.arg("-detect_leaks=0");
    fuzz.arg(format!("-max_total_time={seconds}"));
    let dictionary = root().join("fuzz").join(format!("{name}.dict"));
    if dictionary.is_file() {
        fuzz.arg(format!("-dict={}", dictionary.display()));
    }
    run(&mut fuzz)
}

fn cargo_fuzz() -> std::process::Command {
    let mut fuzz = command(cargo_fuzz_program());
    // Cargo, which runs this tool, would otherwise make it use the pinned toolchain.
    fuzz.arg("fuzz").env("RUSTUP_TOOLCHAIN", TOOLCHAIN).env_remove("CARGO").env_remove("RUSTC");
    fuzz
}

fn cargo_fuzz_program() -> PathBuf {
    target().join("tools/bin/cargo-fuzz")
}

fn ensure_toolchain() -> Result<()> {
    let rustc = command("rustc").env("RUSTUP_TOOLCHAIN", TOOLCHAIN).arg("--version").output();
    let there = rustc.is_ok_and(|rustc| rustc.status.success());
    ensure!(there, "missing; install with:\n\n    rustup toolchain install {TOOLCHAIN}\n");
    Ok(())
}

fn ensure_cargo_fuzz() -> Result<()> {
    let version = cargo_fuzz().arg("--version").output();
    let wanted = format!("cargo-fuzz {CARGO_FUZZ_VERSION}");
    if version.is_ok_and(|said| said.stdout.trim_ascii() == wanted.as_bytes()) {
        return Ok(());
    }
    println!("Building {wanted} into target/tools: once, for a minute");
    let package = format!("cargo-fuzz@{CARGO_FUZZ_VERSION}");
    run(cargo("install --locked --debug --root").arg(target().join("tools")).arg(package))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_of_the_fuzzer_has_a_corpus() {
        let known = known_targets().unwrap();
        assert!(known.contains(&"policy".to_owned()), "{known:?}");
        for name in known {
            assert!(root().join("fuzz/corpus").join(&name).is_dir(), "{name}");
        }
    }

    #[test]
    fn an_unknown_target_is_refused_before_the_build() {
        let options = Options { targets: vec!["none".to_owned()], seconds: 1 };
        let error = run_with(&options).unwrap_err().to_string();
        let targets = "certificate, client_hello, config, crl, id_token, key_set, path, policy, \
                       request, response, sign_in, signing_key, syn";
        assert_eq!(error, format!("the targets are {targets}"));
    }
}
