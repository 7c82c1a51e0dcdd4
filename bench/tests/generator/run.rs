//! Runs of the load generator.

use std::{net::SocketAddr, process::Command};

use portcullis_tests::{pki, process};
use serde_json::Value;

/// A body, and its SHA-256.
pub(crate) const ABC: &str = "abc";
pub(crate) const ABC_SHA256: &str =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// A run that ends after a number of units, long before its time is over.
pub(crate) struct Bench {
    command: Command,
    seconds: u32,
}

impl Bench {
    /// A run of this work, on a server for `localhost`, without a warm-up.
    pub(crate) fn new(work: &str, address: SocketAddr) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis-bench"));
        let pki = pki();
        let client = pki.client();
        command.args([work, "--address", &address.to_string(), "--name", "localhost"]);
        command.arg("--ca").arg(pki.ca()).arg("--cert").arg(client.cert);
        command.arg("--key").arg(client.key);
        command.args(["--warm-up-seconds", "0"]);
        Self { command, seconds: 100 }
    }

    /// Ends the run after this time instead.
    pub(crate) fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// Adds arguments, separated by spaces.
    pub(crate) fn with(mut self, arguments: &str) -> Self {
        self.command.args(arguments.split(' '));
        self
    }

    /// Expects [`ABC`] as every body.
    pub(crate) fn expects_abc(self) -> Self {
        self.with("--body-bytes 3 --body-sha256").with(ABC_SHA256)
    }

    /// The result of a run that must succeed.
    pub(crate) fn result(self) -> Value {
        let finished = process::run(&mut self.into_command(), b"");
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        result(&finished.stdout)
    }

    /// The error output of a run that must fail.
    pub(crate) fn failure(self) -> String {
        let finished = process::run(&mut self.into_command(), b"");
        assert_eq!(finished.code, Some(1), "{}{}", finished.stdout, finished.stderr);
        assert!(!finished.stdout.contains("units"), "{}", finished.stdout);
        finished.stderr
    }

    /// The command, for a test that does not wait for its end.
    pub(crate) fn into_command(mut self) -> Command {
        self.command.args(["--seconds", &self.seconds.to_string()]);
        self.command
    }
}

/// Parses the last line.
pub(crate) fn result(stdout: &str) -> Value {
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}
