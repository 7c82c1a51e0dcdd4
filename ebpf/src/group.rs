//! The sockets that listen at one address.

use core::ptr::read_volatile;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::programs::SkReuseportContext;
use portcullis_abi::{Balance, ListenKey};

use crate::loads::Loads;
use crate::maps::{GROUPS, SOCKETS};

/// `AF_INET6` of `linux/socket.h`.
const INET6: u32 = 10;

/// Where the sockets of one listening address are in [`SOCKETS`]: those of the workers, in order,
/// and then the catcher's.
#[derive(Clone, Copy)]
pub struct Group {
    first: u32,
}

impl Group {
    /// By the socket that the kernel would select. It may be one of another process that listens at
    /// the address and is about to end, so it is not looked up itself.
    #[inline(always)]
    pub fn of(ctx: &SkReuseportContext) -> Option<Self> {
        let socket: *mut bpf_sock = ctx.sk().as_ptr().cast();
        // SAFETY: the context has a socket. The verifier allows reads of single fields: volatile,
        // so that the compiler does not join two of them.
        let key = unsafe {
            let family = read_volatile(&raw const (*socket).family);
            let address = if family == INET6 {
                [
                    read_volatile(&raw const (*socket).src_ip6[0]),
                    read_volatile(&raw const (*socket).src_ip6[1]),
                    read_volatile(&raw const (*socket).src_ip6[2]),
                    read_volatile(&raw const (*socket).src_ip6[3]),
                ]
            } else {
                [read_volatile(&raw const (*socket).src_ip4), 0, 0, 0]
            };
            ListenKey {
                family,
                address,
                port: read_volatile(&raw const (*socket).src_port),
                interface: read_volatile(&raw const (*socket).bound_dev_if),
            }
        };
        // SAFETY: the proxy writes these before it attaches the program, and never later.
        let first = unsafe { GROUPS.get(key) }?;
        Some(Self { first: *first })
    }

    /// Selects the worker's socket, and counts a connection that is sent to it.
    #[inline(always)]
    pub fn select_worker(self, ctx: &SkReuseportContext, worker: u32) -> Option<()> {
        SOCKETS.select_reuseport(ctx, self.first + worker).ok()?;
        Loads::get()?.send(worker);
        Some(())
    }

    /// Selects the catcher; `None` if it is not in use.
    #[inline(always)]
    pub fn select_catcher(self, ctx: &SkReuseportContext, balance: Balance) -> Option<()> {
        SOCKETS.select_reuseport(ctx, self.first + balance.workers).ok()
    }

    /// Selects a worker's socket by the segment's flow, for a segment that may go to any of them.
    /// Two are tried: that of a worker that ends may be closed.
    #[inline(always)]
    pub fn select_any(self, ctx: &SkReuseportContext, balance: Balance) -> Option<()> {
        let worker = ctx.hash().checked_rem(balance.workers).unwrap_or(0);
        if SOCKETS.select_reuseport(ctx, self.first + worker).is_ok() {
            return Some(());
        }
        let next = if worker + 1 >= balance.workers { 0 } else { worker + 1 };
        SOCKETS.select_reuseport(ctx, self.first + next).ok()
    }
}
