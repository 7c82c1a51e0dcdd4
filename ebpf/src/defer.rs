//! Drops what comes before a ClientHello is there, so that it is the ClientHello that completes
//! the handshake.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::macros::socket_filter;
use aya_ebpf::programs::SkBuffContext;
use portcullis_abi::Verdict;

use crate::handshake::Handshake;
use crate::maps::{FIRST_BYTES, count};
use crate::segment::{Segment, TcpHeader};

const PASS: i64 = u32::MAX as i64; // the whole segment
const DROP: i64 = 0;

/// `TCP_LISTEN` of `net/tcp_states.h`.
const LISTEN: u32 = 10;

/// Filters what a listening socket receives. Accepted sockets inherit it: there it passes
/// everything, and the proxy takes it off.
#[socket_filter]
pub fn defer(ctx: SkBuffContext) -> i64 {
    let Some(verdict) = judge(&ctx) else { return PASS };
    count(verdict);
    DROP
}

/// Why to drop the segment; `None` to let it pass.
#[inline(always)]
fn judge(ctx: &SkBuffContext) -> Option<Verdict> {
    if !is_listening(ctx) {
        return None;
    }
    let segment = Segment(ctx.as_ptr());
    let header = TcpHeader::read(&segment)?;
    if !header.is_ack() {
        return None;
    }
    let handshake = Handshake::of(&segment, &header)?;
    if ctx.len() <= header.len && !header.is_fin() {
        // The first one is the handshake's; a keep-alive has another sequence number.
        let _ = FIRST_BYTES.insert(handshake, header.sequence, BPF_NOEXIST.into());
        return Some(Verdict::Deferred);
    }
    // SAFETY: a number that is written once; where its entry is taken for another handshake at
    // this very moment, the worst is a segment that is sent once more.
    let first = unsafe { FIRST_BYTES.get(handshake) }?;
    let distance = header.sequence.wrapping_sub(*first) as i32;
    (distance > 0).then_some(Verdict::OutOfOrder)
}

#[inline(always)]
fn is_listening(ctx: &SkBuffContext) -> bool {
    // SAFETY: the program's own context; the verifier wants to see the test for null.
    unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        !socket.is_null() && (*socket).state == LISTEN
    }
}
