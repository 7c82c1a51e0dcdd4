//! Portcullis, an identity-aware TLS edge proxy. ARCHITECTURE.md draws the rooms.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod conn;
pub mod control_call;
mod fields;
mod hostname;
pub mod http;
pub mod listener;
mod nearest;
pub mod observe;
pub mod policy;
mod regular_file;
pub mod route;
pub mod rt;
pub mod snapshot;
pub mod steering;
pub mod sys;
pub mod tls;
pub mod upstream;
pub mod worker;

#[cfg(test)]
mod budget;
