//! Which handshake a segment belongs to.

use crate::segment::{Segment, TcpHeader};

/// Addresses, ports and the SYN cookie that the client acknowledges: a later connection between the
/// same ports has another one.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Handshake {
    addresses: [u8; 32],
    ports: [u8; 4],
    acknowledgment: u32,
}

impl Handshake {
    #[inline(always)]
    pub fn of(segment: &Segment, header: &TcpHeader) -> Option<Self> {
        let [version] = segment.load_from_ip(0)?;
        let mut addresses = [0; 32];
        if version >> 4 == 4 {
            let both: [u8; 8] = segment.load_from_ip(12)?;
            addresses[..8].copy_from_slice(&both);
        } else {
            addresses = segment.load_from_ip(8)?;
        }
        Some(Self { addresses, ports: header.ports, acknowledgment: header.acknowledgment })
    }
}
