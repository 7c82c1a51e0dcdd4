//! Which handshake a segment belongs to, and where the client's bytes begin after it.

use aya_ebpf::bindings::BPF_NOEXIST;

use crate::maps::FIRST_BYTES;
use crate::segment::{Segment, TcpHeader};

/// Addresses, ports and the SYN cookie that the client acknowledges: a later connection between the
/// same ports has another one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Handshake {
    addresses: [u64; 4],
    ports: [u8; 4],
    acknowledgment: u32,
}

impl Handshake {
    #[inline(always)]
    pub fn of(segment: &Segment, header: &TcpHeader) -> Option<Self> {
        let [version] = segment.load_from_ip(0)?;
        let addresses = if version >> 4 == 4 {
            [segment.u64_from_ip(12)?, 0, 0, 0]
        } else {
            [
                segment.u64_from_ip(8)?,
                segment.u64_from_ip(16)?,
                segment.u64_from_ip(24)?,
                segment.u64_from_ip(32)?,
            ]
        };
        Some(Self { addresses, ports: header.ports, acknowledgment: header.acknowledgment })
    }

    /// Remembers an ACK without payload: the first byte will have its sequence number.
    #[inline(always)]
    pub fn remember(&self, header: &TcpHeader) {
        // The first one stands: a keep-alive, which may follow, has another sequence number. What
        // is lost with a failure is the help for a hello whose first segment is lost.
        let _ = FIRST_BYTES.insert(self, header.sequence, BPF_NOEXIST.into());
    }

    /// Whether bytes in front of this segment's first are still to come.
    #[inline(always)]
    pub fn is_ahead(&self, header: &TcpHeader) -> bool {
        // SAFETY: a number that is written once. Should its entry go to another handshake at this
        // very moment, the segment is taken or dropped wrongly, as if nothing were remembered.
        match unsafe { FIRST_BYTES.get(self) } {
            Some(first) => header.sequence.wrapping_sub(*first) as i32 > 0,
            None => false,
        }
    }
}
