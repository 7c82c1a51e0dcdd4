//! How much an HTTP/1.1 upstream may send before its response.

use std::{cell::Cell, io};

use super::answer_io::ReceiveLimit;

/// Twice the largest head that hyper accepts, for interim responses before it.
const MAX_BYTES: u64 = 256 * 1024;

/// An upstream sent interim responses (1xx) and no response.
#[derive(Debug, thiserror::Error)]
#[error("more than {MAX_BYTES} bytes of interim responses")]
pub(super) struct InterimFlood;

/// How much more may come before the response. A connection fails once it is spent: hyper reads interim
/// responses without end.
#[derive(Debug)]
pub(super) struct HeadAllowance(Cell<u64>);

impl HeadAllowance {
    /// Of a connection whose first request is about to be sent.
    pub(super) fn new() -> HeadAllowance {
        HeadAllowance(Cell::new(MAX_BYTES))
    }

    /// A request is sent.
    pub(super) fn begin(&self) {
        self.0.set(MAX_BYTES);
    }

    /// Its response has begun. The body has no limit.
    pub(super) fn end(&self) {
        self.0.set(u64::MAX);
    }
}

impl ReceiveLimit for HeadAllowance {
    fn check(&self) -> io::Result<()> {
        if self.0.get() == 0 { Err(io::Error::other(InterimFlood)) } else { Ok(()) }
    }

    fn received(&self, bytes: &[u8]) {
        self.0.set(self.0.get().saturating_sub(bytes.len() as u64));
    }
}
