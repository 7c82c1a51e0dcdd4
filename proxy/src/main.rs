//! The `portcullis` program.

use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::Arguments;

fn main() -> ExitCode {
    Arguments::parse().run()
}
