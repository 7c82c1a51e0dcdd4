//! Drops segments that arrive before the ClientHello, so that the ClientHello itself completes the
//! handshake.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::socket_filter;
use aya_ebpf::programs::SkBuffContext;
use portcullis_abi::Verdict;

use crate::handshake::Handshake;
use crate::lookup::Lookup;
use crate::maps::{SETTINGS, count};
use crate::segment::{Segment, TcpHeader};

const PASS: i64 = u32::MAX as i64; // the whole segment
const DROP: i64 = 0;

/// `TCP_LISTEN` of `net/tcp_states.h`.
const LISTEN: u32 = 10;

/// Filters the segments of a listening socket. Accepted sockets inherit it: there it passes
/// everything, and the proxy detaches it.
#[socket_filter]
pub fn defer(ctx: SkBuffContext) -> i64 {
    let Some(verdict) = judge(&ctx) else { return PASS };
    count(verdict);
    DROP
}

/// The reason to drop the segment; `None` if it passes.
#[inline(always)]
fn judge(ctx: &SkBuffContext) -> Option<Verdict> {
    if !is_listening(ctx) {
        return None;
    }
    let segment = Segment(ctx.as_ptr());
    let header = TcpHeader::read(&segment)?;
    if header.is_syn() {
        Handshake::of(&segment, &header)?.begin(&header);
        return None;
    }
    if !header.is_ack() {
        return None;
    }
    // Where cookies come from a catcher, other clients have ordinary handshakes.
    if SETTINGS.get(0).is_some_and(|settings| settings.catching != 0)
        && !Lookup::was_made_for(&header)
    {
        return None;
    }
    let handshake = Handshake::of(&segment, &header)?;
    if ctx.len() <= header.len && !header.is_fin() {
        handshake.remember(&header);
        return Some(Verdict::Deferred);
    }
    // A FIN at its place passes; otherwise a client that leaves would send it again and again.
    handshake.is_ahead(&header).then_some(Verdict::OutOfOrder)
}

#[inline(always)]
fn is_listening(ctx: &SkBuffContext) -> bool {
    // SAFETY: the program's own context; the verifier requires the check for null.
    unsafe {
        let socket = (*ctx.skb.skb).__bindgen_anon_2.sk;
        !socket.is_null() && (*socket).state == LISTEN
    }
}
