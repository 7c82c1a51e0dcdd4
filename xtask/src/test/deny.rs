//! cargo-deny, in the one version whose verdicts we know.

use anyhow::Result;

use crate::command::{cargo, command, run, target};

const VERSION: &str = "0.20.2";

/// Which crates may be in the tree, under which licenses, from where: `deny.toml`.
pub(super) fn check() -> Result<()> {
    let tools = target().join("tools");
    let deny = tools.join("bin/cargo-deny");
    let is_there = || {
        let version = command(&deny).arg("--version").output();
        version.is_ok_and(|said| {
            said.stdout.trim_ascii() == format!("cargo-deny {VERSION}").as_bytes()
        })
    };
    if !is_there() {
        println!("Building cargo-deny {VERSION} into target/tools: once, for some minutes");
        let package = format!("cargo-deny@{VERSION}");
        run(cargo("install --locked --debug --root").arg(&tools).arg(package))?;
    }
    run(command(&deny).args(["check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))
}
