//! The handshake that a segment belongs to, and the start of the client's bytes after it.

use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST};

use crate::maps::{FIRST_BYTES, SYNS};
use crate::segment::{Segment, TcpHeader};

/// The bytes that a client may send before they are acknowledged: the SYN-ACK's unscaled window.
const MAX_FIRST_FLIGHT: u32 = 65_535;

/// Addresses, ports and the SYN cookie that the client acknowledges: a later connection on the same
/// ports has another one. A SYN has none yet.
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

    /// Remembers a SYN: the first byte has the next sequence number.
    #[inline(always)]
    pub fn begin(&self, header: &TcpHeader) {
        // If this fails, here and below, only the help for a hello whose first segment is lost is
        // missing.
        let _ = SYNS.insert(self, header.sequence.wrapping_add(1), BPF_ANY.into());
    }

    /// Remembers an ACK without payload. It may be a keep-alive after the ACK of the handshake was
    /// lost: its sequence number is one less than the first byte's.
    #[inline(always)]
    pub fn remember(&self, header: &TcpHeader) {
        let after = header.sequence.wrapping_add(1);
        // SAFETY: as below.
        let first = match unsafe { SYNS.get(self.syn()) } {
            Some(first) if *first == header.sequence || *first == after => *first,
            // The two cannot be distinguished. This is at most one byte too far: the first segment
            // is never judged to be ahead.
            _ => after,
        };
        // The first number stays: once bytes were sent and lost, later ACKs have higher numbers.
        let _ = FIRST_BYTES.insert(self, first, BPF_NOEXIST.into());
    }

    /// Whether bytes before this segment are still missing.
    #[inline(always)]
    pub fn is_ahead(&self, header: &TcpHeader) -> bool {
        // SAFETY: numbers that are written whole. If an entry is reused for another handshake at
        // this moment, the segment is passed or dropped wrongly, as if no entry existed.
        let first = match unsafe { FIRST_BYTES.get(self).or_else(|| SYNS.get(self.syn())) } {
            Some(first) => *first,
            None => return false,
        };
        // Beyond that the number is another connection's, or a SYN with a forged source address has
        // been sent: the kernel must decide.
        (1..=MAX_FIRST_FLIGHT).contains(&header.sequence.wrapping_sub(first))
    }
}
