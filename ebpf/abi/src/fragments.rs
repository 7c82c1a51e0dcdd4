//! The bytes of a handshake message, read from the payloads of the records that contain it.

use core::cell::Cell;

use crate::Load;
use crate::load::{RUN_LEN, run_len};
use crate::record;

/// Whole records, read as one message of their joined payloads.
pub(crate) struct Fragments<'a> {
    records: &'a [u8],
    /// The fragment that was read last: the parser moves forward, so the next one is usually close.
    current: Cell<Fragment>,
}

/// One record's payload.
#[derive(Clone, Copy)]
struct Fragment {
    /// The offset in the joined message.
    offset: u32,
    /// The offset in the records.
    start: usize,
    len: u32,
}

impl<'a> Fragments<'a> {
    pub(crate) fn new(records: &'a [u8]) -> Self {
        // An empty fragment before the first record: every offset lies behind it.
        Self { records, current: Cell::new(Fragment { offset: 0, start: 0, len: 0 }) }
    }

    fn copy(&self, mut offset: u32, mut into: &mut [u8]) -> Option<()> {
        while !into.is_empty() {
            let from = self.rest_of_fragment(offset)?;
            let len = from.len().min(into.len());
            let (now, later) = into.split_at_mut_checked(len)?;
            now.copy_from_slice(from.get(..len)?);
            into = later;
            offset = offset.checked_add(u32::try_from(len).ok()?)?;
        }
        Some(())
    }

    /// The bytes from `offset` to the end of its record; never empty.
    fn rest_of_fragment(&self, offset: u32) -> Option<&'a [u8]> {
        let mut fragment = self.current.get();
        if offset < fragment.offset {
            fragment = Fragment { offset: 0, start: 0, len: 0 };
        }
        while offset - fragment.offset >= fragment.len {
            fragment = self.next(fragment)?;
        }
        self.current.set(fragment);
        let skipped = (offset - fragment.offset) as usize;
        self.records.get(fragment.start..)?.get(skipped..fragment.len as usize)
    }

    fn next(&self, fragment: Fragment) -> Option<Fragment> {
        let header_start = fragment.start + fragment.len as usize;
        let [_, _, _, high, low] = *self.records.get(header_start..)?.first_chunk()?;
        Some(Fragment {
            offset: fragment.offset + fragment.len,
            start: header_start + record::HEADER_LEN as usize,
            len: u32::from(u16::from_be_bytes([high, low])),
        })
    }
}

impl Load for Fragments<'_> {
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy(offset, &mut bytes)?;
        Some(bytes)
    }

    fn load_run(&self, offset: u32, len: u32, into: &mut [u8; RUN_LEN]) -> Option<()> {
        self.copy(offset, into.get_mut(..run_len(len)?)?)
    }
}
