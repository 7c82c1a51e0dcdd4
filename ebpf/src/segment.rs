//! A TCP segment, as both programs see it: it starts with the TCP header.

use core::mem::MaybeUninit;
use core::ptr::read_volatile;

use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::{bpf_skb_load_bytes, bpf_skb_load_bytes_relative};
use portcullis_abi::Load;

/// The constant of `linux/bpf.h`.
const BPF_HDR_START_NET: u32 = 1;

/// The context of a program that runs for a segment.
pub struct Segment(pub *mut c_void);

impl Segment {
    /// `N` bytes at `offset` from the start of the IP header.
    #[inline(always)]
    pub fn load_from_ip<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        // Not zeroed first: the compiler would emit a loop for that, which the verifier accepts
        // only from root.
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        let (to, len) = (bytes.as_mut_ptr().cast(), N as u32);
        // SAFETY: the context is the program's own, and `bytes` has room for `N` bytes.
        let failed =
            unsafe { bpf_skb_load_bytes_relative(self.0, offset, to, len, BPF_HDR_START_NET) };
        // SAFETY: the helper has filled all of them.
        (failed == 0).then(|| unsafe { bytes.assume_init() })
    }

    /// Eight bytes of the IP header.
    #[inline(always)]
    pub fn u64_from_ip(&self, offset: u32) -> Option<u64> {
        self.load_from_ip(offset).map(u64::from_ne_bytes)
    }
}

impl Load for Segment {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = MaybeUninit::<[u8; N]>::uninit();
        // SAFETY: the context is the program's own, and `bytes` has room for `N` bytes.
        let failed =
            unsafe { bpf_skb_load_bytes(self.0, offset, bytes.as_mut_ptr().cast(), N as u32) };
        // SAFETY: the helper has filled all of them.
        (failed == 0).then(|| unsafe { bytes.assume_init() })
    }

    #[inline(always)]
    fn load_run(&self, offset: u32, len: u32, into: &mut [u8; 256]) -> Option<()> {
        if len == 0 || len > 255 {
            return None;
        }
        // The compiler knows the bounds here and would drop a plain mask; the verifier does not.
        // SAFETY: a local variable.
        let len = (unsafe { read_volatile(&len) }.wrapping_sub(1) & 0xff) + 1;
        // SAFETY: the context is the program's own, and `into` has room for 256 bytes.
        let failed = unsafe { bpf_skb_load_bytes(self.0, offset, into.as_mut_ptr().cast(), len) };
        (failed == 0).then_some(())
    }
}

/// The length of a TCP header without options.
pub const HEADER_LEN: u32 = 20;

/// The fields of a TCP header that the programs use (RFC 9293 section 3.1).
pub struct TcpHeader {
    pub ports: [u8; 4],
    pub sequence: u32,
    pub acknowledgment: u32,
    /// The length with options, which is the offset of the payload.
    pub len: u32,
    flags: u8,
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

impl TcpHeader {
    #[inline(always)]
    pub fn read(segment: &Segment) -> Option<Self> {
        let bytes: [u8; 14] = segment.load(0)?;
        let [p0, p1, p2, p3, s0, s1, s2, s3, a0, a1, a2, a3, data_offset, flags] = bytes;
        Some(Self {
            ports: [p0, p1, p2, p3],
            sequence: u32::from_be_bytes([s0, s1, s2, s3]),
            acknowledgment: u32::from_be_bytes([a0, a1, a2, a3]),
            len: u32::from(data_offset >> 4) * 4,
            flags,
        })
    }

    #[inline(always)]
    pub fn is_syn(&self) -> bool {
        self.flags & (SYN | RST | ACK) == SYN
    }

    #[inline(always)]
    pub fn is_fin(&self) -> bool {
        self.flags & FIN != 0
    }

    /// A segment that neither opens nor resets a connection.
    #[inline(always)]
    pub fn is_ack(&self) -> bool {
        self.flags & (SYN | RST | ACK) == ACK
    }
}
