//! The code that the kernel program and the proxy share: the ClientHello parser, the choice of a
//! worker, and the layout of maps.
//!
//! The parser reads through [`Load`], so the same code runs in the `sk_reuseport` program, in the
//! proxy, in unit tests and in the fuzzer. It has no allocation, no `unsafe`, no index that can
//! panic and, on the kernel's path, only constant loop bounds and fixed buffers.
//!
//! There are two entry points to hellos, and [`SynOptions`] reads SYNs:
//! - [`sni`] reads one TCP segment, as the kernel sees it. Its result only steers a connection: if
//!   it cannot read the segment, user space does.
//! - [`Reassembler`] (or [`client_hello`] for a single read) reads the first bytes of a connection
//!   in user space, over any number of segments and records. Its result is authoritative.
//!   [`ClientOffer`] is the rest of what the proxy wants to know about a whole hello.
//!
//! Both follow rustls 0.23: they accept what `rustls::server::Acceptor` accepts, with equal names.
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
mod syn;

#[cfg(not(target_arch = "bpf"))]
pub use hello::offer::ClientOffer;
pub use load::Load;
#[cfg(not(target_arch = "bpf"))]
pub use maps::WorkerSlot;
pub use maps::{
    ListenKey, MAX_SOCKETS, NAME_KEY_LEN, NameKey, SLOTS, SteeringSettings, Verdict, WorkerLine,
};
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
pub use syn::{CookieLoss, MAX_OPTIONS, SynOptions};
