//! Selects the listening socket of the worker that serves the name in a ClientHello.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::sk_action::{SK_DROP, SK_PASS};
use aya_ebpf::bindings::sk_reuseport_md;
use aya_ebpf::btf_maps::lpm_trie::Key;
use aya_ebpf::macros::sk_reuseport;
use aya_ebpf::programs::SkReuseportContext;
use portcullis_abi::{
    CookieLoss, Home, MAX_WORKERS, NAME_KEY_LEN, Outcome, Reason, SteeringSettings, SynOptions,
    Verdict, sni,
};

use crate::group::Group;
use crate::handshake::Handshake;
use crate::loads::Loads;
use crate::lookup::Lookup;
use crate::maps::{NAMES, SETTINGS, Scratch, count};
use crate::segment::{HEADER_LEN, Segment, TcpHeader};

/// Runs whenever the kernel looks up a listener: for a SYN and, if SYN cookies are sent, for the
/// segment that completes the handshake.
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
    // One test after the other. A pattern of both would be compiled to two tests of one result, and
    // verifiers before Linux 6.8 follow the path on which the two differ: without a header.
    let Some(header) = TcpHeader::read(&segment) else { return Verdict::Passed };
    let Some(settings) = SETTINGS.get(0) else { return Verdict::Passed };
    if settings.catching != 0 {
        Lookup::remember(&header);
    }
    if header.is_syn() && settings.closed != 0 {
        return Verdict::Closed;
    }
    // Before the test for payload: a SYN may have some (TCP Fast Open).
    let verdict = if header.is_syn() {
        catch(ctx, settings)
    } else if ctx.len() as u32 > header.len {
        steer_hello(ctx, &segment, &header)
    } else {
        Verdict::Passed
    };
    if verdict.is_for_any_socket()
        && let Some(group) = Group::of(ctx)
    {
        // If this fails, the kernel makes its own choice, which includes the catcher.
        let _ = group.select_any(ctx, settings.balance);
    }
    verdict
}

/// Selects the catcher for a SYN, if the client loses nothing by a cookie.
#[inline(always)]
fn catch(ctx: &SkReuseportContext, settings: &SteeringSettings) -> Verdict {
    if settings.catching == 0 {
        return Verdict::Passed;
    }
    match cookie_loss(ctx.as_ptr().cast()) {
        NOTHING => {}
        SEGMENT_SIZE => return Verdict::SegmentSize,
        _ => return Verdict::NoTimestamps,
    }
    match Group::of(ctx).and_then(|group| group.select_catcher(ctx, settings.balance)) {
        Some(()) => Verdict::Caught,
        None => Verdict::Passed,
    }
}

#[inline(always)]
fn steer_hello(ctx: &SkReuseportContext, segment: &Segment, header: &TcpHeader) -> Verdict {
    read_name(ctx.as_ptr().cast());
    let Some(scratch) = Scratch::get() else { return Verdict::Passed };
    match scratch.verdict() {
        Verdict::UnknownRefused => return Verdict::UnknownRefused,
        Verdict::Steered => {}
        _ => {
            let handshake = Handshake::of(segment, header);
            if handshake.is_some_and(|handshake| handshake.is_ahead(header)) {
                return Verdict::Passed; // `defer` is about to drop it
            }
            scratch.home = Home::of_flow(ctx.hash());
        }
    }
    if select_worker(ctx, place_connection()).is_none() {
        return Verdict::SelectFailed;
    }
    Scratch::get().map_or(Verdict::SelectFailed, |scratch| scratch.verdict())
}

// The three functions below are global ones, which the verifier checks once and alone, for any state
// of `SCRATCH`: it does not follow every path through one into the next. Up to Linux 6.3 a callback
// of `bpf_loop` makes it tell apart all numbers of all callers, and it would give up after a million
// instructions. A global function takes and returns numbers and the context, so they leave their
// results in `SCRATCH`.

/// Reads the server name, and leaves the verdict about it, and the home of a served name, in
/// [`SCRATCH`](crate::maps::SCRATCH). The result has no meaning.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn read_name(ctx: *mut sk_reuseport_md) -> u32 {
    let segment = Segment(ctx.cast());
    let Some(scratch) = Scratch::get() else { return 0 };
    scratch.verdict = Verdict::Passed;
    let Some(header) = TcpHeader::read(&segment) else { return 0 };
    let Some(settings) = SETTINGS.get(0) else { return 0 };
    scratch.verdict = match sni(&segment, header.len, &mut scratch.name) {
        Outcome::Name => match home(scratch) {
            Some(home) => {
                scratch.home = *home;
                Verdict::Steered
            }
            None if settings.refuse_unknown != 0 => Verdict::UnknownRefused,
            None => Verdict::Unknown,
        },
        Outcome::NoName => Verdict::NoSni,
        Outcome::Truncated => Verdict::Truncated,
        Outcome::NotTls => Verdict::NotTls,
        Outcome::Unsupported => Verdict::Unsupported,
    };
    0
}

const NOTHING: u32 = CookieLoss::Nothing as u32;
const SEGMENT_SIZE: u32 = CookieLoss::SegmentSize as u32;

/// The [`CookieLoss`] of a SYN, as a number.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn cookie_loss(ctx: *mut sk_reuseport_md) -> u32 {
    let segment = Segment(ctx.cast());
    let Some(header) = TcpHeader::read(&segment) else { return CookieLoss::Options as u32 };
    let Some([version]) = segment.load_from_ip(0) else { return CookieLoss::Options as u32 };
    let options = SynOptions::read(&segment, HEADER_LEN, header.len);
    options.cookie_loss(version >> 4 == 6) as u32
}

/// The number that no worker has. It has 64 bits, as registers have: from a number of 32 bits, the
/// compiler would make two copies, compare one and use the other, whose bounds the verifier does not
/// know then.
const NO_WORKER: u64 = u64::MAX;

/// Chooses the worker for the home in [`SCRATCH`](crate::maps::SCRATCH), and makes the verdict there
/// say so if a name does not go to its first choice. Returns the worker, or [`NO_WORKER`].
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn place_connection() -> u64 {
    let Some(scratch) = Scratch::get() else { return NO_WORKER };
    let Some(settings) = SETTINGS.get(0) else { return NO_WORKER };
    let Some(loads) = Loads::get() else { return NO_WORKER };
    let Some(placed) = scratch.placing.place(&scratch.home, settings.balance, &loads) else {
        return NO_WORKER;
    };
    if scratch.verdict() == Verdict::Steered {
        scratch.verdict = match placed.reason {
            Reason::Home => Verdict::Steered,
            Reason::Spilled => Verdict::Spilled,
            Reason::Unavailable => Verdict::WorkerUnavailable,
        };
    }
    u64::from(placed.worker)
}

#[inline(always)]
fn home(scratch: &mut Scratch) -> Option<&'static Home> {
    scratch.key.set(&scratch.name);
    // SAFETY: both are a `u32` and the reversed name; `Key` may be read at any alignment.
    let key = unsafe { &*(&raw const scratch.key).cast::<Key<[u8; NAME_KEY_LEN]>>() };
    NAMES.get(key)
}

/// Selects the worker's socket, if there is such a worker.
#[inline(always)]
fn select_worker(ctx: &SkReuseportContext, worker: u64) -> Option<()> {
    if worker >= u64::from(MAX_WORKERS) {
        return None;
    }
    Group::of(ctx)?.select_worker(ctx, worker as u32)
}
