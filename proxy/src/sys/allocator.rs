//! The allocator of the whole program: mimalloc.
#![expect(unsafe_code, reason = "the allocator is called from everywhere, and trusts its callers")]

use std::{
    alloc::{GlobalAlloc, Layout},
    ffi::c_void,
};

use libmimalloc_sys as mi;

/// What `mi_malloc` aligns to by itself, as C's malloc does for `max_align_t`.
const NATURAL_ALIGNMENT: usize = 16;

/// Gives free memory back to the system: to be called by a thread that has just freed much.
pub(crate) fn give_memory_back() {
    // SAFETY: it has no conditions; it looks at this thread's own heap and at what all share.
    unsafe { mi_collect(true) }
}

// The crate declares it only with a feature that needs one more crate.
unsafe extern "C" {
    /// Frees what is free: with `force`, at once.
    fn mi_collect(force: bool);
}

/// mimalloc as the global allocator.
///
/// In place of the one in the crate `mimalloc`, which asks for an alignment each time: mimalloc then
/// takes its slow path, and more memory than asked for, for most sizes above 1,024 bytes.
#[derive(Debug)]
pub struct Allocator;

/// Whether plain allocation is aligned enough. As for C's malloc, that is said of sizes that could
/// hold something so aligned.
const fn is_natural(size: usize, alignment: usize) -> bool {
    alignment <= NATURAL_ALIGNMENT && alignment <= size
}

// SAFETY: mimalloc's functions have the contract of C's, which is the one asked for: memory that is
// returned is of that size, at that alignment (see `is_natural`) and nobody else's until it is
// freed, null where there is none; they do not unwind, and any thread may free. A layout's size is
// never above `isize::MAX`, and callers never ask for 0 bytes.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: there is nothing to heed; an alignment is a power of two.
        let memory = unsafe {
            if is_natural(size, alignment) {
                mi::mi_malloc(size)
            } else {
                mi::mi_malloc_aligned(size, alignment)
            }
        };
        memory.cast()
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (size, alignment) = (layout.size(), layout.align());
        // SAFETY: as above.
        let memory = unsafe {
            if is_natural(size, alignment) {
                mi::mi_zalloc(size)
            } else {
                mi::mi_zalloc_aligned(size, alignment)
            }
        };
        memory.cast()
    }

    unsafe fn dealloc(&self, memory: *mut u8, _: Layout) {
        // SAFETY: the caller gives what this allocator gave it, once.
        unsafe { mi::mi_free(memory.cast::<c_void>()) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let alignment = layout.align();
        // SAFETY: the caller gives what this allocator gave it, and goes on with what it gets; both
        // functions take memory of either kind.
        let memory = unsafe {
            if is_natural(size, alignment) {
                mi::mi_realloc(memory.cast::<c_void>(), size)
            } else {
                mi::mi_realloc_aligned(memory.cast::<c_void>(), size, alignment)
            }
        };
        memory.cast()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(memory: *mut u8, size: usize, byte: u8) {
        assert!(!memory.is_null());
        // SAFETY: so many bytes were allocated there.
        unsafe { memory.write_bytes(byte, size) }
    }

    fn holds(memory: *const u8, size: usize, byte: u8) -> bool {
        // SAFETY: so many bytes were allocated there and written.
        unsafe { std::slice::from_raw_parts(memory, size) }.iter().all(|one| *one == byte)
    }

    proptest! {
        #[test]
        fn memory_is_aligned_keeps_its_bytes_and_is_exclusive(
            exponent in 0..14_u32,
            sizes in prop::collection::vec((1..9000_usize, 1..9000_usize), 1..40),
        ) {
            let aligned = |memory: *mut u8| (memory as usize).is_multiple_of(1 << exponent);
            let mut all = Vec::new();
            for (n, (size, grown)) in sizes.into_iter().enumerate() {
                let layout = Layout::from_size_align(size, 1 << exponent).unwrap();
                let byte = n as u8 + 1;
                // SAFETY: the sizes are not 0, and each piece is used within its own.
                unsafe {
                    let zeroed = Allocator.alloc_zeroed(layout);
                    prop_assert!(aligned(zeroed) && holds(zeroed, size, 0));
                    Allocator.dealloc(zeroed, layout);
                    let memory = Allocator.alloc(layout);
                    prop_assert!(aligned(memory));
                    fill(memory, size, byte);
                    let memory = Allocator.realloc(memory, layout, grown);
                    prop_assert!(aligned(memory) && holds(memory, size.min(grown), byte));
                    fill(memory, grown, byte);
                    all.push((memory, Layout::from_size_align(grown, 1 << exponent).unwrap(), byte));
                }
            }
            for (memory, layout, byte) in all {
                prop_assert!(holds(memory, layout.size(), byte));
                // SAFETY: nobody has freed it.
                unsafe { Allocator.dealloc(memory, layout) }
            }
        }
    }
}
