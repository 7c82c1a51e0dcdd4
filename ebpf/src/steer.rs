//! Selects the listening socket of the worker that serves the name in a ClientHello.

use core::ptr::read_volatile;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;
use portcullis_abi::{Home, NAME_KEY_LEN, Outcome, Reason, Verdict, sni};

use crate::handshake::Handshake;
use crate::loads::Loads;
use crate::maps::{GROUPS, NAMES, SCRATCH, SETTINGS, SOCKETS, Scratch, count};
use crate::segment::{Segment, TcpHeader};

/// Runs whenever the kernel looks up a listener: for a SYN and, if SYN cookies are sent, for the
/// segment that completes the handshake. Without a selection the kernel makes its own choice.
#[sk_reuseport]
pub fn steer(ctx: SkReuseportContext) -> u32 {
    let verdict = choose(&ctx);
    count(verdict);
    match verdict {
        Verdict::UnknownRefused | Verdict::Closed => SK_DROP, // the kernel answers with a reset
        _ => SK_PASS,
    }
}

#[inline(always)]
fn choose(ctx: &SkReuseportContext) -> Verdict {
    let segment = Segment(ctx.as_ptr());
    let (Some(header), Some(settings)) = (TcpHeader::read(&segment), SETTINGS.get(0)) else {
        return Verdict::Passed;
    };
    if header.is_syn() && settings.closed != 0 {
        return Verdict::Closed;
    }
    if ctx.len() as u32 <= header.len {
        return Verdict::Passed;
    }
    let (Some(scratch), Some(loads)) = (SCRATCH.get_ptr_mut(0), Loads::get()) else {
        return Verdict::Passed;
    };
    // SAFETY: the value belongs to this CPU, and no other program uses it meanwhile.
    let scratch = unsafe { &mut *scratch };
    scratch.verdict = match sni(&segment, header.len, &mut scratch.name) {
        Outcome::Name => match home(scratch) {
            Some(home) => {
                scratch.home = *home;
                Verdict::Steered
            }
            None if settings.refuse_unknown != 0 => return Verdict::UnknownRefused,
            None => Verdict::Unknown,
        },
        Outcome::NoName => Verdict::NoSni,
        Outcome::Truncated => Verdict::Truncated,
        Outcome::NotTls => Verdict::NotTls,
        Outcome::Unsupported => Verdict::Unsupported,
    };
    // From here on, the verifier does not distinguish the paths to this point: it continues once.
    // SAFETY: a reference to a value that was just written.
    let verdict = unsafe { read_volatile(&scratch.verdict) };
    if verdict != Verdict::Steered {
        // `defer` is about to drop it.
        if Handshake::of(&segment, &header).is_some_and(|handshake| handshake.is_ahead(&header)) {
            return Verdict::Passed;
        }
        scratch.home = Home::of_flow(ctx.hash());
    }
    let Some(placed) = scratch.placing.place(&scratch.home, settings.balance, &loads) else {
        return Verdict::SelectFailed;
    };
    if select(ctx, loads, placed.worker).is_none() {
        return Verdict::SelectFailed;
    }
    match (verdict, placed.reason) {
        (Verdict::Steered, Reason::Spilled) => Verdict::Spilled,
        (Verdict::Steered, Reason::Unavailable) => Verdict::WorkerUnavailable,
        _ => verdict,
    }
}

#[inline(always)]
fn home(scratch: &mut Scratch) -> Option<&'static Home> {
    scratch.key.set(&scratch.name);
    // SAFETY: both are a `u32` and the reversed name; `Key` may be read at any alignment.
    let key = unsafe { &*(&raw const scratch.key).cast::<Key<[u8; NAME_KEY_LEN]>>() };
    NAMES.get(key)
}

/// Selects the worker's socket among those of this listening address, and counts a connection that
/// is sent to it.
#[inline(always)]
fn select(ctx: &SkReuseportContext, loads: Loads, worker: u32) -> Option<()> {
    // SAFETY: the socket that the kernel would select; the program's context has one.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.sk().as_ptr()) };
    // SAFETY: the proxy writes these before it attaches the program, and never later.
    let first = unsafe { GROUPS.get(cookie) }?;
    SOCKETS.select_reuseport(ctx, first + worker).ok()?;
    loads.send(worker);
    Some(())
}
