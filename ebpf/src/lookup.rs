//! Tells `defer` for which segments the kernel has looked a listener up.
//!
//! A segment of a handshake that the kernel keeps a request for goes to the request's listener
//! without a look-up: `steer` does not run, and `defer` must not hold the segment back. It would
//! cost the client its first measurement of the round trip, and the kernel would repeat its SYN-ACK.
//! Both programs run for a segment one directly after the other, on the same CPU.

use crate::maps::LOOKED_UP;
use crate::segment::TcpHeader;

/// What tells a segment from others.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Lookup {
    ports: [u8; 4],
    sequence: u32,
    acknowledgment: u32,
}

impl Lookup {
    #[inline(always)]
    fn of(header: &TcpHeader) -> Self {
        let TcpHeader { ports, sequence, acknowledgment, .. } = *header;
        Self { ports, sequence, acknowledgment }
    }

    /// Remembers that `steer` has seen this segment.
    #[inline(always)]
    pub fn remember(header: &TcpHeader) {
        if let Some(last) = LOOKED_UP.get_ptr_mut(0) {
            // SAFETY: the value belongs to this CPU, and no other program uses it meanwhile.
            unsafe { *last = Self::of(header) }
        }
    }

    /// Whether `steer` has seen this segment just now.
    #[inline(always)]
    pub fn was_made_for(header: &TcpHeader) -> bool {
        // SAFETY: as above.
        LOOKED_UP.get_ptr(0).is_some_and(|last| unsafe { *last } == Self::of(header))
    }
}
