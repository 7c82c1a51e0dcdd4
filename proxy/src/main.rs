//! The `portcullis` program.

#[global_allocator]
static ALLOCATOR: portcullis::Allocator = portcullis::Allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis::run_command()
}
