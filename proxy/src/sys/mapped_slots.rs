//! The table of loads in memory that is shared with the kernel program.
#![expect(unsafe_code, reason = "maps memory and reads it as typed slots")]

use std::{io, ops::Deref, os::fd::BorrowedFd, ptr, ptr::NonNull};

use portcullis_abi::{SLOTS, WorkerSlot};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// The lines of the maximum number of workers, in a memory-mapped BPF array.
#[derive(Debug)]
pub struct MappedSlots {
    table: NonNull<[WorkerSlot; SLOTS]>,
}

const LEN: usize = size_of::<[WorkerSlot; SLOTS]>();

impl MappedSlots {
    /// Maps the whole of a BPF array that was made with `BPF_F_MMAPABLE`.
    ///
    /// # Errors
    /// The error of `mmap`, for instance if the array is smaller than the table.
    pub fn map(array: BorrowedFd<'_>) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses a place that nothing else uses.
        let at = unsafe { mmap(ptr::null_mut(), LEN, access, MapFlags::SHARED, array, 0) }?;
        let table = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { table })
    }
}

impl Deref for MappedSlots {
    type Target = [WorkerSlot];

    fn deref(&self) -> &[WorkerSlot] {
        // SAFETY: the mapping begins on a page, is as long as the table and lives as long as
        // `self`. Slots are atomics, for which any bytes are a value, whoever writes them.
        unsafe { self.table.as_ref() }
    }
}

impl Drop for MappedSlots {
    fn drop(&mut self) {
        // SAFETY: it was mapped with this length, and no reference outlives `self`. Should it
        // fail, the memory stays mapped, which harms nothing.
        let _ = unsafe { munmap(self.table.as_ptr().cast(), LEN) };
    }
}

// SAFETY: it owns its mapping, and gives out nothing but shared references to atomics.
unsafe impl Send for MappedSlots {}
// SAFETY: as above.
unsafe impl Sync for MappedSlots {}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};

    use super::*;

    fn memory(len: usize) -> rustix::fd::OwnedFd {
        let memory = memfd_create("slots", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, len as u64).unwrap();
        memory
    }

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let memory = memory(LEN);
        let one = MappedSlots::map(memory.as_fd()).unwrap();
        let other = MappedSlots::map(memory.as_fd()).unwrap();
        assert_eq!(other.len(), SLOTS);
        assert_eq!(other[SLOTS - 1].current(), None);
        one[SLOTS - 1].set_available(true);
        one[SLOTS - 1].set_load(7);
        one[SLOTS - 1].send();
        assert_eq!(other[SLOTS - 1].current(), Some(8));
    }

    #[test]
    fn a_descriptor_that_cannot_be_mapped_is_an_error() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(MappedSlots::map(socket.as_fd()).is_err());
    }
}
