//! Commands that this tool runs, and their directories.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The top of the source tree.
pub(crate) fn root() -> &'static Path {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask)
}

/// The directory for the output of cargo and of this tool.
pub(crate) fn target() -> PathBuf {
    root().join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

/// A command that runs at the top of the source tree.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("PATH", search_path());
    for (name, _) in env::vars_os().filter(|(name, _)| is_about_this_package(name)) {
        command.env_remove(name);
    }
    command
}

/// The variables that `cargo run` sets for this tool. Build scripts watch them, so a cargo process
/// that inherits them would rebuild what a cargo process from a shell has built, and the reverse.
fn is_about_this_package(name: &OsStr) -> bool {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
    prefixes.iter().any(|prefix| name.to_string_lossy().starts_with(prefix))
}

/// The cargo that runs this tool, with its arguments separated by blanks.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut cargo = command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments.split_whitespace());
    cargo
}

/// Runs to the end; the output goes to the terminal.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot run {}", shown(command)))?;
    ensure!(status.success(), "{} failed: {status}", shown(command));
    Ok(())
}

/// Runs to the end and returns the command's stdout; its stderr goes to the terminal.
pub(crate) fn said_by(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?}: {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// The command as a user would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let mut words = vec![program.to_string_lossy()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy()));
    words.join(" ")
}

/// Whether a program of this name exists.
pub(crate) fn is_installed(program: &str) -> bool {
    path_of(program).is_some()
}

/// The path of the program of this name.
pub(crate) fn path_of(program: &str) -> Option<PathBuf> {
    let path = search_path();
    env::split_paths(&path).map(|place| place.join(program)).find(|place| place.is_file())
}

/// Whether this runs as root: the kernel gives `/proc/self` to the effective user.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// `PATH`, and the directories in which Debian keeps programs for root.
pub(crate) fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    path.push(":/usr/sbin:/sbin");
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_holds_the_workspace_manifest() {
        assert!(root().join("Cargo.toml").is_file());
        assert!(root().join("xtask/Cargo.toml").is_file());
    }

    #[test]
    fn a_command_is_shown_without_the_directory_of_its_program() {
        let mut command = command("/usr/bin/openssl");
        command.args(["s_server", "-www"]);
        assert_eq!(shown(&command), "openssl s_server -www");
    }

    #[test]
    fn a_command_does_not_inherit_cargos_variables() {
        // Cargo sets it for tests as it does for `cargo run`.
        assert!(env::var_os("CARGO_PKG_NAME").is_some());
        let removed =
            |(name, value): (&OsStr, Option<&OsStr>)| value.is_none() && name == "CARGO_PKG_NAME";
        assert!(command("sh").get_envs().any(removed));
    }

    #[test]
    fn a_program_that_does_not_exist_is_not_installed() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program-anywhere"));
    }
}
