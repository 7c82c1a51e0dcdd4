//! Which handshake a segment belongs to, and where the client's bytes begin after it.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};

use crate::maps::{FIRST_BYTES, SYNS};
use crate::segment::{Segment, TcpHeader};

/// What a client may send before it is acknowledged: the SYN-ACK's window, which is not scaled.
const MAX_FIRST_FLIGHT: u32 = 65_535;

/// Addresses, ports and the SYN cookie that the client acknowledges: a later connection between the
/// same ports has another one. A SYN has none yet.
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
        let acknowledgment = if header.is_syn() { 0 } else { header.acknowledgment };
        Some(Self { addresses, ports: header.ports, acknowledgment })
    }

    #[inline(always)]
    fn syn(self) -> Self {
        Self { acknowledgment: 0, ..self }
    }

    /// Remembers a SYN: the first byte will have the sequence number after it.
    #[inline(always)]
    pub fn begin(&self, header: &TcpHeader) {
        // What is lost with a failure, here and below, is the help for a hello whose first segment
        // is lost.
        let _ = SYNS.insert(self, header.sequence.wrapping_add(1), BPF_ANY.into());
    }

    /// Remembers an ACK without payload. It may be a keep-alive, where the handshake's own is
    /// lost: that has the sequence number before the first byte's.
    #[inline(always)]
    pub fn remember(&self, header: &TcpHeader) {
        let after = header.sequence.wrapping_add(1);
        // SAFETY: as below.
        let first = match unsafe { SYNS.get(self.syn()) } {
            Some(first) if *first == header.sequence || *first == after => *first,
            // Which of the two it is cannot be told. This is at most one byte too far on: the
            // first segment is never taken for one that is ahead.
            _ => after,
        };
        // The first one stands: once bytes were sent and lost, others have higher numbers.
        let _ = FIRST_BYTES.insert(self, first, BPF_NOEXIST.into());
    }

    /// Whether bytes in front of this segment's first are still to come.
    #[inline(always)]
    pub fn is_ahead(&self, header: &TcpHeader) -> bool {
        // SAFETY: numbers that are written whole. Should an entry go to another handshake at this
        // very moment, the segment is taken or dropped wrongly, as if nothing were remembered.
        let first = match unsafe { FIRST_BYTES.get(self).or_else(|| SYNS.get(self.syn())) } {
            Some(first) => *first,
            None => return false,
        };
        // Beyond that the number is another connection's, or somebody sent a SYN in this client's
        // name: the kernel is to judge.
        (1..=MAX_FIRST_FLIGHT).contains(&header.sequence.wrapping_sub(first))
    }
}
