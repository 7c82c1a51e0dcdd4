//! The parser alone, for tests: `BPF_PROG_TEST_RUN` runs socket filters, but no sk_reuseport
//! program. The proxy does not load it.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::macros::socket_filter;
use aya_ebpf::programs::SkBuffContext;
use portcullis_abi::{Outcome, sni};

use crate::maps::Scratch;
use crate::segment::Segment;

/// Reads the payload of the segment, which is the whole buffer here; leaves the name and its key in
/// [`SCRATCH`](crate::maps::SCRATCH) and returns the number of the outcome.
#[socket_filter]
pub fn parse(ctx: SkBuffContext) -> i64 {
    let Some(scratch) = Scratch::get() else { return -1 };
    let outcome = sni(&Segment(ctx.as_ptr()), 0, &mut scratch.name);
    if let Outcome::Name = outcome {
        scratch.key.set(&scratch.name);
    }
    outcome as i64
}
