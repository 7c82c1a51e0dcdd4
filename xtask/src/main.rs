//! The project's own commands: `cargo xtask test`, `demo` and `ebpf`. Each sets up what it needs and
//! says what it does.

#![expect(clippy::print_stdout, reason = "a command-line tool talks on stdout")]

mod command;
mod demo;
mod ebpf;
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
    /// Build the kernel programs into `ebpf/steer.bpf.o`, which the proxy carries.
    Ebpf(ebpf::Options),
}

fn main() -> ExitCode {
    let outcome = match Xtask::parse() {
        Xtask::Test => test::run_all(),
        Xtask::Demo(options) => demo::run(&options),
        Xtask::Ebpf(options) => ebpf::run_with(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
