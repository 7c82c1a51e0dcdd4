//! The structure of a ClientHello (RFC 8446 section 4.1.2), as far as it is needed to find the
//! server_name extension (RFC 6066 section 3).
//!
//! All of this also runs in the kernel: it has no loop and no recursion, and is inlined because a
//! BPF program has only 512 bytes of stack.

use crate::Load;

/// HandshakeType client_hello.
pub(crate) const CLIENT_HELLO: u8 = 1;
/// A handshake message's type and 24-bit length.
pub(crate) const MESSAGE_HEADER_LEN: u32 = 4;

const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// The length of legacy_version and random.
const FIXED_LEN: u32 = 2 + 32;
const MAX_SESSION_ID_LEN: u32 = 32;

/// The reason why a walk ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The next bytes are not available.
    Truncated,
    /// An impossible length or count.
    Malformed,
}

/// The part of a source that holds one structure: no read goes past its `end`.
pub(crate) struct Cursor<'l, L: ?Sized> {
    load: &'l L,
    at: u32,
    /// At least `at`.
    end: u32,
}

/// The type of one extension, and the range of its body.
pub(crate) struct Extension<'l, L: ?Sized> {
    kind: u16,
    pub(crate) body: Cursor<'l, L>,
}

impl<L: Load + ?Sized> Extension<'_, L> {
    #[inline(always)]
    pub(crate) fn is_server_name(&self) -> bool {
        self.kind == SERVER_NAME
    }
}

/// The extensions of a hello whose body (without its message header) is `hello`. A hello may end
/// before them; then it has none.
#[inline(always)]
pub(crate) fn extensions<L: Load + ?Sized>(
    mut hello: Cursor<'_, L>,
) -> Result<Cursor<'_, L>, Stop> {
    hello.skip(FIXED_LEN)?;
    let session_id_len = hello.u8()?;
    if u32::from(session_id_len) > MAX_SESSION_ID_LEN {
        return Err(Stop::Malformed);
    }
    hello.skip(u32::from(session_id_len))?;
    let cipher_suites_len = hello.u16()?;
    hello.skip(u32::from(cipher_suites_len))?;
    let compression_methods_len = hello.u8()?;
    hello.skip(u32::from(compression_methods_len))?;
    if hello.is_empty() {
        return Ok(hello);
    }
    let extensions_len = hello.u16()?;
    if u32::from(extensions_len) != hello.left() {
        return Err(Stop::Malformed);
    }
    Ok(hello)
}

/// Takes the first of `extensions`, which must not be empty.
#[inline(always)]
pub(crate) fn next_extension<'l, L: Load + ?Sized>(
    extensions: &mut Cursor<'l, L>,
) -> Result<Extension<'l, L>, Stop> {
    let [kind_high, kind_low, len_high, len_low] = extensions.array()?;
    let body = extensions.take(u32::from(u16::from_be_bytes([len_high, len_low])))?;
    Ok(Extension { kind: u16::from_be_bytes([kind_high, kind_low]), body })
}

/// The first host_name in the body of the server_name extension: its offset and length. `None` if
/// the list begins with a name of another type, whose length is unknown.
#[inline(always)]
pub(crate) fn host_name<L: Load + ?Sized>(
    list: &mut Cursor<'_, L>,
) -> Result<Option<(u32, u32)>, Stop> {
    let list_len = list.u16()?;
    if list_len == 0 || u32::from(list_len) != list.left() {
        return Err(Stop::Malformed);
    }
    if list.u8()? != HOST_NAME {
        return Ok(None);
    }
    let len = u32::from(list.u16()?);
    let offset = list.at;
    list.skip(len)?;
    if len == 0 {
        return Err(Stop::Malformed);
    }
    Ok(Some((offset, len)))
}

/// Whether a second host_name follows, which RFC 6066 forbids.
pub(crate) fn has_second_host_name<L: Load + ?Sized>(
    rest: &mut Cursor<'_, L>,
) -> Result<bool, Stop> {
    Ok(!rest.is_empty() && rest.u8()? == HOST_NAME)
}

impl<'l, L: Load + ?Sized> Cursor<'l, L> {
    #[inline(always)]
    pub(crate) fn new(load: &'l L, start: u32, len: u32) -> Self {
        Self { load, at: start, end: start.saturating_add(len) }
    }

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        self.at >= self.end
    }

    #[inline(always)]
    fn left(&self) -> u32 {
        self.end.saturating_sub(self.at)
    }

    #[inline(always)]
    fn skip(&mut self, len: u32) -> Result<(), Stop> {
        if len > self.left() {
            return Err(Stop::Malformed);
        }
        self.at = self.at.saturating_add(len);
        Ok(())
    }

    /// Splits the next `len` bytes off.
    #[inline(always)]
    fn take(&mut self, len: u32) -> Result<Self, Stop> {
        let start = self.at;
        self.skip(len)?;
        Ok(Self { load: self.load, at: start, end: self.at })
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let start = self.at;
        self.skip(N as u32)?;
        self.load.load(start).ok_or(Stop::Truncated)
    }

    #[inline(always)]
    fn u8(&mut self) -> Result<u8, Stop> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline(always)]
    fn u16(&mut self) -> Result<u16, Stop> {
        self.array().map(u16::from_be_bytes)
    }
}

#[cfg(not(target_arch = "bpf"))]
pub(crate) mod offer;
