//! The `portcullis` program.

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::process::ExitCode;

use clap::Parser;
use portcullis::cli::Arguments;

fn main() -> ExitCode {
    Arguments::parse().run()
}
