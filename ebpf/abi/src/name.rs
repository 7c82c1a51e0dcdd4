//! Host names that rustls accepts (`rustls_pki_types::DnsName`), in one canonical form.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::hint::black_box;

use crate::Load;
use crate::load::RUN_LEN;

/// The longest host name on the wire, in bytes, a trailing dot included (RFC 1035 section 2.3.4
/// less the length octets).
pub const MAX_NAME_LEN: usize = 253;

/// A DNS name in canonical form: lower case, no trailing dot, at most [`MAX_NAME_LEN`] bytes of
/// letters, digits, `-`, `_` and `.`.
///
/// The layout is fixed so that the kernel program can keep one in a map.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct HostName {
    /// The bytes in use; the others have no meaning.
    len: u32,
    bytes: [u8; RUN_LEN],
}

/// The kind of a host_name entry.
pub(crate) enum Kind {
    /// A DNS name, now in the caller's [`HostName`].
    Dns,
    /// Anything else; the caller's [`HostName`] is empty.
    Other,
}

impl HostName {
    /// No name: the place that [`sni`](crate::sni) writes a name into.
    pub const EMPTY: Self = Self { len: 0, bytes: [0; RUN_LEN] };

    /// A name from the configuration or the command line. `None` if it is not a DNS name, such as
    /// an IP address: no client can ask for it.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut name = Self::EMPTY;
        let len = u32::try_from(text.len()).ok()?;
        matches!(name.read(text, 0, len), Some(Kind::Dns)).then_some(name)
    }

    /// The name's bytes, lower case.
    #[inline(always)]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len as usize).unwrap_or(&[])
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }

    /// The whole buffer, for a reader that cannot slice by a run-time length: in the kernel
    /// program the verifier must see every bound. Only the first [`len`](Self::len) bytes have a
    /// meaning.
    #[inline(always)]
    pub const fn buffer(&self) -> &[u8; 256] {
        &self.bytes
    }

    /// The length of the name: 0 for [`EMPTY`](Self::EMPTY), at most [`MAX_NAME_LEN`].
    #[inline(always)]
    #[expect(clippy::len_without_is_empty, reason = "a name that was read is never empty")]
    pub const fn len(&self) -> u32 {
        self.len
    }

    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        self.len = 0;
    }

    /// Reads the `len` bytes at `offset` and converts them to canonical form. `None` if they are
    /// not available.
    #[inline(always)]
    pub(crate) fn read<L: Load + ?Sized>(
        &mut self,
        from: &L,
        offset: u32,
        len: u32,
    ) -> Option<Kind> {
        self.clear();
        if len == 0 || len > MAX_NAME_LEN as u32 {
            return Some(Kind::Other);
        }
        from.load_run(offset, len, &mut self.bytes)?;
        // The compiler knows that `len` is in bounds and would drop the mask that proves it to the
        // kernel's verifier.
        let len = self.without_trailing_dot(black_box(len));
        if !self.lower_and_check(len) {
            return Some(Kind::Other);
        }
        self.len = len;
        Some(Kind::Dns)
    }

    #[inline(always)]
    fn without_trailing_dot(&self, len: u32) -> u32 {
        let last = self.bytes[(len.wrapping_sub(1) & 0xff) as usize];
        len - u32::from(last == b'.')
    }

    /// Walks the first `len` bytes through [`NEXT`]: tables and arithmetic instead of branches, so
    /// that the verifier follows one path and not a tree of paths.
    #[inline(always)]
    fn lower_and_check(&mut self, len: u32) -> bool {
        let mut state = START;
        let mut label_len = 0_u32;
        let mut overlong = 0_u32;
        for at in 0..MAX_NAME_LEN {
            if at as u32 >= len {
                break;
            }
            let class = CLASS[usize::from(self.bytes[at])];
            self.bytes[at] |= class & TO_LOWER;
            state = NEXT[usize::from(state & 7)][usize::from(class & 7)];
            label_len = (label_len + 1) * u32::from(class >> IN_LABEL_SHIFT & 1);
            overlong |= label_len >> 6; // labels have at most 63 bytes
        }
        // A last label of digits only would be read as the end of an IPv4 address.
        state == HAS_LETTER && overlong == 0
    }
}

// The states of a label. Their names and rules are those of `rustls_pki_types::DnsName`.
const START: u8 = 0;
const HAS_LETTER: u8 = 1;
const ALL_NUMERIC: u8 = 2;
const ENDS_IN_HYPHEN: u8 = 3;
const BAD: u8 = 4;

// The classes of a byte: the low three bits of `CLASS`.
const OTHER: u8 = 0;
const LETTER: u8 = 1;
const DIGIT: u8 = 2;
const HYPHEN: u8 = 3;
const DOT: u8 = 4;

/// The bit in `CLASS` of an upper-case letter; the same bit converts it to lower case.
const TO_LOWER: u8 = 0x20;
/// The bit in `CLASS` of a byte that counts towards the length of its label.
const IN_LABEL_SHIFT: u8 = 6;

static CLASS: [u8; 256] = classes();

/// The state after a byte: `NEXT[state][class]`. Rows and columns are padded to eight so that a
/// masked index always fits.
static NEXT: [[u8; 8]; 8] = transitions();

const fn classes() -> [u8; 256] {
    let mut table = [OTHER; 256];
    let mut byte = 0_usize;
    while byte < 256 {
        let class = match byte as u8 {
            b'a'..=b'z' | b'_' => LETTER,
            b'A'..=b'Z' => LETTER | TO_LOWER,
            b'0'..=b'9' => DIGIT,
            b'-' => HYPHEN,
            b'.' => DOT,
            _ => OTHER,
        };
        table[byte] = if class == DOT { DOT } else { class | 1 << IN_LABEL_SHIFT };
        byte += 1;
    }
    table
}

const fn transitions() -> [[u8; 8]; 8] {
    let mut next = [[BAD; 8]; 8];
    let mut state = START;
    while state < BAD {
        let row = &mut next[state as usize];
        row[LETTER as usize] = HAS_LETTER;
        row[DIGIT as usize] = match state {
            START | ALL_NUMERIC => ALL_NUMERIC,
            _ => HAS_LETTER,
        };
        row[HYPHEN as usize] = if state == START { BAD } else { ENDS_IN_HYPHEN };
        row[DOT as usize] = match state {
            HAS_LETTER | ALL_NUMERIC => START,
            _ => BAD,
        };
        state += 1;
    }
    next
}

impl PartialEq for HostName {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for HostName {}

impl Hash for HostName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
