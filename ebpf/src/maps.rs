//! The state of the programs, shared with the proxy, which sizes some of these maps at load.

use core::ptr::read_volatile;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ReusePortSockArray};
use aya_ebpf::macros::btf_map;
use portcullis_abi::{
    Home, HostName, ListenKey, MAX_SOCKETS, NAME_KEY_LEN, NameKey, Placing, SLOTS,
    SteeringSettings, Verdict, WorkerLine,
};

use crate::handshake::Handshake;
use crate::lookup::Lookup;

/// Every served name, with its home.
#[btf_map]
pub static NAMES: LpmTrie<[u8; NAME_KEY_LEN], Home, 262_144> = LpmTrie::new();

/// The loads, which the proxy maps into its memory. One value: an index into it needs no call.
#[btf_map]
pub static LOADS: Array<[WorkerLine; SLOTS], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
pub static SETTINGS: Array<SteeringSettings, 1> = Array::new();

/// The counters, indexed by [`Verdict`].
#[btf_map]
pub static COUNTERS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();

/// The sockets of the workers and of the catcher, one listening address after another. A catcher
/// that is not in use is not here.
#[btf_map]
pub static SOCKETS: ReusePortSockArray<MAX_SOCKETS> = ReusePortSockArray::new();

/// The index in [`SOCKETS`] of a listening address.
#[btf_map]
pub static GROUPS: HashMap<ListenKey, u32, SLOTS> = HashMap::new();

/// The last segment of this CPU that a listener was looked up for.
#[btf_map]
pub static LOOKED_UP: PerCpuArray<Lookup, 1> = PerCpuArray::new();

/// The sequence number of a client's first byte, according to its SYN. A flood of SYNs evicts
/// entries here, but none of [`FIRST_BYTES`].
#[btf_map]
pub static SYNS: LruHashMap<Handshake, u32, 65_536> = LruHashMap::new();

/// The same number for clients whose ACK was deferred.
#[btf_map]
pub static FIRST_BYTES: LruHashMap<Handshake, u32, 65_536> = LruHashMap::new();

/// Memory beyond the 512 bytes of stack.
#[repr(C)]
pub struct Scratch {
    pub name: HostName,
    pub key: NameKey,
    pub home: Home,
    pub verdict: Verdict,
    pub placing: Placing,
}

#[btf_map]
pub static SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

impl Scratch {
    /// This CPU's memory.
    #[inline(always)]
    pub fn get() -> Option<&'static mut Self> {
        let scratch = SCRATCH.get_ptr_mut(0)?;
        // SAFETY: the value belongs to this CPU, and no other program uses it meanwhile. A caller
        // keeps no other reference while it calls a function that has one.
        Some(unsafe { &mut *scratch })
    }

    /// The verdict as it is in memory, which a global function may have changed. For the verifier it
    /// is a number like any other: it continues once, and not for each way to the number.
    #[inline(always)]
    pub fn verdict(&self) -> Verdict {
        // SAFETY: a reference to a value that was written as a verdict.
        unsafe { read_volatile(&self.verdict) }
    }
}

/// Increments the counter of a verdict.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: the value belongs to this CPU, and no other program runs on it meanwhile.
        unsafe { *counter += 1 }
    }
}
