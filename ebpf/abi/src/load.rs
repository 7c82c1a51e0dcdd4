//! Reading bytes at an offset, from wherever they lie.

/// Room for a host name and one byte more, so that an index masked to 8 bits always fits.
pub(crate) const RUN_LEN: usize = 256;

/// A source of bytes: a socket buffer in the kernel, a slice or a run of TLS records in user space.
///
/// Offsets count from the source's own first byte. A read past the end gives `None` and is never
/// cut short.
pub trait Load {
    /// `N` bytes at `offset`.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;

    /// `len` bytes at `offset` into the front of `into`; what lies behind them is left as it was.
    ///
    /// `None` as well when `len` is 0 or over 255: in the kernel `bpf_skb_load_bytes` wants a
    /// length that is proven to be positive and to fit. Comparing is not proof enough there, since
    /// the compiler drops a comparison it has already made: read `len` as volatile and mask it.
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

/// `len` as a length [`Load::load_run`] may take.
pub(crate) fn run_len(len: u32) -> Option<usize> {
    usize::try_from(len).ok().filter(|len| (1..RUN_LEN).contains(len))
}
