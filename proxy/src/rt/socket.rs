//! A descriptor, and what is released with it.

use std::{
    any::Any,
    cell::OnceCell,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
};

/// A socket. Operations in flight share it, so that it is closed after the last of them.
#[derive(Debug)]
pub(super) struct Socket {
    descriptor: OwnedFd,
    /// The right to have it open, if it needs one.
    permit: OnceCell<Box<dyn Any>>,
}

impl Socket {
    pub(super) fn new(descriptor: OwnedFd) -> Socket {
        Socket { descriptor, permit: OnceCell::new() }
    }

    /// Keeps a permit until the descriptor is closed.
    pub(super) fn hold(&self, permit: Box<dyn Any>) {
        // It has none yet: a socket is connected once.
        let _ = self.permit.set(permit);
    }

    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}
