//! The parser against the shared table, against real clients' hellos, and against rustls.
#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod captures;
mod corpus;
mod offer;
mod oracle;
mod properties;
mod table;
