//! What the kernel program and the proxy share: the ClientHello parser, the choice of a worker, and
//! the layout of maps.
//!
//! The parser reads through [`Load`], so the very code that runs in the `sk_reuseport` program runs
//! in the proxy, in unit tests and under the fuzzer. It has no allocation, no `unsafe`, no index
//! that can panic and, on the kernel's path, constant loop bounds and fixed buffers only.
//!
//! Two doors lead in:
//! - [`sni`] looks at one TCP segment, as the kernel sees it. Its answer steers a connection and
//!   decides nothing: what it cannot read goes to user space.
//! - [`Reassembler`] (or [`client_hello`] for one look) reads the connection's first bytes in user
//!   space, over any number of segments and records. Its answer is the one that counts.
//!
//! Both follow rustls 0.23: what `rustls::server::Acceptor` takes, they take, with the same name.
#![no_std]

#[cfg(feature = "test-cases")]
extern crate alloc;

#[cfg(feature = "test-cases")]
pub mod cases;
mod fragments;
mod hello;
mod http;
mod load;
mod maps;
mod name;
mod place;
#[cfg(not(target_arch = "bpf"))]
mod random;
mod reassemble;
mod record;
mod segment;

pub use load::Load;
#[cfg(not(target_arch = "bpf"))]
pub use maps::WorkerSlot;
pub use maps::{NAME_KEY_LEN, NameKey, SLOTS, SteeringSettings, Verdict, WorkerLine};
pub use name::{HostName, MAX_NAME_LEN};
pub use place::{
    Balance, Home, Loads, MAX_WORKERS, Placed, Placing, Reason, SLACK, WorkerSet, place,
};
#[cfg(not(target_arch = "bpf"))]
pub use random::SplitMix64;
pub use reassemble::{
    Invalid, MAX_MESSAGE_LEN, MAX_RECEIVED_LEN, Progress, Reassembler, client_hello,
};
pub use segment::{MAX_EXTENSIONS, Outcome, sni};
