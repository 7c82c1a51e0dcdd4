//! The kernel programs that steer connections; ARCHITECTURE.md describes how they work together.
//!
//! They run for packets and contain no policy: every path through them ends in a
//! [`Verdict`](portcullis_abi::Verdict), which is counted.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)] // Rust's atomics have no addition for this target

mod defer;
mod group;
mod handshake;
mod loads;
mod lookup;
mod maps;
mod parse;
mod segment;
mod steer;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers are available only to programs under this license.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 4] = *b"GPL\0";
