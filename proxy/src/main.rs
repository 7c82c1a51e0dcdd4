//! The `portcullis` program.

#[global_allocator]
static ALLOCATOR: portcullis::Allocator = portcullis::Allocator;

use std::process::ExitCode;

use clap::Parser;
use portcullis::Arguments;

fn main() -> ExitCode {
    Arguments::parse().run()
}
