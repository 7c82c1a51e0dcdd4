//! The project's own commands: `cargo xtask test`, `source`, `demo`, `dist`, `package`, `bench`, `ebpf`,
//! `kernels`, `supervised`, `fuzz` and `conformance`. Each installs the packages it needs and prints its steps.

#![expect(clippy::print_stdout, reason = "a command-line tool prints to stdout")]

mod admin;
mod bench;
mod command;
mod conformance;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod kernels;
mod mkcert;
mod node_peers;
mod package;
mod packages;
mod process;
mod rig;
mod source;
mod supervised;
mod test;

use std::process::ExitCode;

use clap::Parser;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Xtask {
    /// Check everything: format, lints, dependencies, documentation, the demo, all tests.
    Test,
    /// Check the text of the proxy: each visible type name once, no function over 60 lines.
    Source,
    /// Run the proxy between curl and `openssl s_server`, mutual TLS on both sides.
    Demo(demo::Options),
    /// Build the proxy for deployment: two builds, with a run between them that makes a profile.
    Dist,
    /// Make a Debian package of the proxy, and a container image.
    Package(package::Options),
    /// Measure the proxy and its peers on the same work, side by side.
    Bench(bench::Bench),
    /// Build the kernel programs into `ebpf/steer.bpf.o`, which the proxy carries.
    Ebpf(ebpf::Options),
    /// Run tests on the kernels of Debian 12 and 13, in virtual machines: after a change in `ebpf/`.
    Kernels(kernels::Options),
    /// Run the unit in containers of Debian 12 and 13, under load: after a change in how the process
    /// starts, ends or is replaced.
    Supervised(supervised::Options),
    /// Run libFuzzer on the parsers of what comes from the network and the configuration.
    Fuzz(fuzz::Options),
    /// Run h2spec and llhttp's vectors against the proxy.
    Conformance(conformance::Options),
}

fn main() -> ExitCode {
    let outcome = match Xtask::parse() {
        Xtask::Test => test::run_all(),
        Xtask::Source => source::check(),
        Xtask::Demo(options) => demo::run(&options),
        Xtask::Dist => dist::run(),
        Xtask::Package(options) => package::run_with(&options),
        Xtask::Bench(bench) => bench::run(&bench),
        Xtask::Ebpf(options) => ebpf::run_with(&options),
        Xtask::Kernels(options) => kernels::run_with(&options),
        Xtask::Supervised(options) => supervised::run_with(&options),
        Xtask::Fuzz(options) => fuzz::run_with(&options),
        Xtask::Conformance(options) => conformance::run_with(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
