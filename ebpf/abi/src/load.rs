//! Reads bytes at an offset from any source.

/// The room for a host name and one byte more, so that an index masked to 8 bits always fits.
pub(crate) const RUN_LEN: usize = 256;

/// A source of bytes: a socket buffer in the kernel, a slice or a run of TLS records in user space.
///
/// Offsets count from the first byte of the source. A read past the end returns `None`; it is never
/// truncated.
pub trait Load {
    /// `N` bytes at `offset`.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// Copies `len` bytes at `offset` to the front of `into`; the bytes behind them are unchanged.
    ///
    /// Also `None` if `len` is 0 or over 255: in the kernel `bpf_skb_load_bytes` needs a length
    /// that is provably positive and in bounds. A comparison is no such proof, since the compiler
    /// drops a comparison that it has already made: read `len` as volatile and mask it.
    fn load_run(&self, offset: u32, len: u32, into: &mut [u8; 256]) -> Option<()>;
}

impl Load for [u8] {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let from = self.get(usize::try_from(offset).ok()?..)?;
        from.first_chunk().copied()
    }

    fn load_run(&self, offset: u32, len: u32, into: &mut [u8; RUN_LEN]) -> Option<()> {
        let len = run_len(len)?;
        let run = self.get(usize::try_from(offset).ok()?..)?.get(..len)?;
        into.get_mut(..len)?.copy_from_slice(run);
        Some(())
    }
}

/// `len` as a length that [`Load::load_run`] accepts.
pub(crate) fn run_len(len: u32) -> Option<usize> {
    usize::try_from(len).ok().filter(|len| (1..RUN_LEN).contains(len))
}
