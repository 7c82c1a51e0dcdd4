//! Portcullis, an identity-aware TLS edge proxy. ARCHITECTURE.md draws the rooms.
//!
//! The library is no interface for others: the binary needs two names of it, and [`facade`] is for
//! tests, benchmarks and fuzz targets.

mod accounts;
mod admin;
mod app;
mod binding;
mod certificate;
mod cli;
mod config;
mod conn;
mod control_call;
mod descriptors;
mod did_you_mean;
mod digest;
#[doc(hidden)]
pub mod facade;
mod fields;
mod hostname;
mod http;
mod http2_frames;
mod identity;
mod listener;
mod listening_sockets;
mod observe;
mod pages;
mod policy;
mod probe;
mod reclaim;
mod regular_file;
mod rfc3339;
mod route;
mod rt;
mod service_manager;
mod short_body;
mod snapshot;
mod steering;
mod sys;
mod tls;
mod token_bucket;
mod upstream;
mod worker;

#[cfg(test)]
mod budget;

pub use cli::run_command;
pub use sys::Allocator;
