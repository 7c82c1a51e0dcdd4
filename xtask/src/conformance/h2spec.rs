//! h2spec, which tests a server of HTTP/2 in 146 ways.

use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::TestBench;
use crate::command::command;

/// The cases of h2spec 2.6. None fails, and none is skipped.
const CASES: u32 = 146;

const HOW_TO_GET: &str = "h2spec is not there; with Go, install it by\n\n    \
     go install github.com/summerwind/h2spec/cmd/h2spec@latest\n\nand name it with --h2spec";

pub(super) fn run(bench: &TestBench, program: &Path) -> Result<()> {
    let (upstream, _nginx) = bench.nginx()?;
    let proxy = bench.proxy("h2spec", upstream, true)?;
    let port = proxy.address.port().to_string();
    let mut h2spec = command(program);
    h2spec.args(["--host", "localhost", "--port", &port, "--tls", "--insecure"]);
    // Some cases wait for an answer that must not come.
    h2spec.args(["--timeout", "2"]);
    let output = h2spec.output().context(HOW_TO_GET)?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let summary = said.lines().rev().find(|line| line.contains(" tests, ")).unwrap_or_default();
    println!("{summary}");
    ensure!(summary == expected(), "{said}");
    Ok(())
}

fn expected() -> String {
    format!("{CASES} tests, {CASES} passed, 0 skipped, 0 failed")
}
