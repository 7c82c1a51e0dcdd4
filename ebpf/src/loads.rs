//! The load table, which the proxy writes while the program reads it.

use core::arch::asm;
use core::ptr::read_volatile;

use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::bpf_loop;
use portcullis_abi::{MAX_WORKERS, SLOTS, WorkerLine};

use crate::maps::LOADS;

/// The only value of the table.
#[derive(Clone, Copy)]
pub struct Loads(*mut [WorkerLine; SLOTS]);

impl Loads {
    #[inline(always)]
    pub fn get() -> Option<Self> {
        LOADS.get_ptr_mut(0).map(Self)
    }

    /// Counts a connection that is sent to the worker.
    #[inline(always)]
    pub fn send(self, worker: u32) {
        if let Some(line) = self.line(worker) {
            // SAFETY: the kernel's atomic addition, which Rust lacks for this target, on memory
            // that all writers add to atomically.
            unsafe {
                asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) &raw mut (*line).sent, in(reg) 1_u64);
            }
        }
    }

    #[inline(always)]
    fn line(self, worker: u32) -> Option<*mut WorkerLine> {
        // SAFETY: inside the array.
        (worker < SLOTS as u32).then(|| unsafe { self.0.cast::<WorkerLine>().add(worker as usize) })
    }
}

impl portcullis_abi::Loads for Loads {
    #[inline(always)]
    fn load(&self, worker: u32) -> Option<u32> {
        let line = self.line(worker)?;
        // SAFETY: inside the array; read as volatile, since other threads write meanwhile.
        let line = unsafe {
            WorkerLine {
                load: read_volatile(&raw const (*line).load),
                available: read_volatile(&raw const (*line).available),
                sent: read_volatile(&raw const (*line).sent),
                taken: read_volatile(&raw const (*line).taken),
            }
        };
        line.current()
    }

    #[inline(always)]
    fn for_each_worker<F: FnMut(u32)>(&self, workers: u32, mut visit: F) {
        let context = (&raw mut visit).cast();
        // SAFETY: `call` gets the pointer to `visit`, which lives as long as the loop.
        unsafe { bpf_loop(workers.min(MAX_WORKERS), call::<F> as *mut c_void, context, 0) };
    }
}

/// One iteration of the loop: 0 continues with the next.
unsafe extern "C" fn call<F: FnMut(u32)>(worker: u64, visit: *mut F) -> u64 {
    // SAFETY: the kernel passes the pointer that `bpf_loop` got.
    unsafe { (*visit)(worker as u32) };
    0
}
