//! The project's own commands: `cargo xtask test` and `cargo xtask demo`. Each sets up what it
//! needs and says what it does.

#![expect(clippy::print_stdout, reason = "a command-line tool talks on stdout")]

mod command;
mod demo;
mod packages;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    /// Check everything: format, lints, dependencies, documentation, the demo, all tests.
    Test,
    /// Run the proxy between curl and `openssl s_server`, mutual TLS on both sides.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let outcome = match Xtask::parse() {
        Xtask::Test => test::run_all(),
        Xtask::Demo(options) => demo::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
