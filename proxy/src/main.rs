//! The `portcullis` program.

#[global_allocator]
static ALLOCATOR: portcullis::sys::Allocator = portcullis::sys::Allocator;

use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::Arguments;

fn main() -> ExitCode {
    Arguments::parse().run()
}
