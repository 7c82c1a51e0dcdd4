//! What the programs keep and share with the proxy, which sizes some of these at load.

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, ReusePortSockArray};
use aya_ebpf::macros::btf_map;
use portcullis_abi::{
    Home, HostName, NAME_KEY_LEN, NameKey, Placing, SLOTS, SteeringSettings, Verdict, WorkerLine,
};

use crate::handshake::Handshake;

/// Every name that is served, with its home.
#[btf_map]
pub static NAMES: LpmTrie<[u8; NAME_KEY_LEN], Home, 262_144> = LpmTrie::new();

/// The loads, which the proxy maps into its memory. One value: an index into it costs no call.
#[btf_map]
pub static LOADS: Array<[WorkerLine; SLOTS], 1, { BPF_F_MMAPABLE as usize }> = Array::new();

#[btf_map]
pub static SETTINGS: Array<SteeringSettings, 1> = Array::new();

/// By [`Verdict`].
#[btf_map]
pub static COUNTERS: PerCpuArray<u64, { Verdict::ALL.len() }> = PerCpuArray::new();

/// The workers' sockets, one address after the other.
#[btf_map]
pub static SOCKETS: ReusePortSockArray<SLOTS> = ReusePortSockArray::new();

/// Where in [`SOCKETS`] a listening address begins, by the cookie of any of its sockets.
#[btf_map]
pub static GROUPS: HashMap<u64, u32, SLOTS> = HashMap::new();

/// The sequence number of the first byte a client will send, as its SYN said. A flood of SYNs
/// pushes out what is here, but nothing of [`FIRST_BYTES`].
#[btf_map]
pub static SYNS: LruHashMap<Handshake, u32, 65_536> = LruHashMap::new();

/// The same for those whose ACK was deferred.
#[btf_map]
pub static FIRST_BYTES: LruHashMap<Handshake, u32, 65_536> = LruHashMap::new();

/// Room that the stack of 512 bytes does not have.
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

/// Adds one to a verdict's counter.
#[inline(always)]
pub fn count(verdict: Verdict) {
    if let Some(counter) = COUNTERS.get_ptr_mut(verdict as u32) {
        // SAFETY: the value is this CPU's own, and no other program runs on it meanwhile.
        unsafe { *counter += 1 }
    }
}
