//! Descriptors that this process was started with.
#![expect(unsafe_code, reason = "becomes the owner of descriptors by their numbers")]

use std::{
    ops::Range,
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
};

use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

/// Whether they were taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the descriptors with these numbers that are open, and hides them from other programs that
/// this process starts. Gives nothing when it is called again.
///
/// They must be those that the process was started with, as its starter says: nothing else in this
/// process may use them.
pub(crate) fn take_inherited(numbers: Range<RawFd>) -> Vec<(RawFd, OwnedFd)> {
    if TAKEN.swap(true, SeqCst) {
        return Vec::new();
    }
    numbers.filter(|number| *number > 2).filter_map(take).collect()
}

fn take(number: RawFd) -> Option<(RawFd, OwnedFd)> {
    // SAFETY: it is used for two calls, which fail if the descriptor is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = fcntl_getfd(descriptor).ok()?;
    fcntl_setfd(descriptor, flags | FdFlags::CLOEXEC).ok()?;
    // SAFETY: it is open, was opened by the process that started this one, and is taken only once.
    Some((number, unsafe { OwnedFd::from_raw_fd(number) }))
}
