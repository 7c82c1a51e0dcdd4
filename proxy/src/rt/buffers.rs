//! Buffers shared by a worker's connections, so that an idle connection holds none.

use std::cell::RefCell;

/// Smaller storage is not kept.
const SMALLEST_BYTES: usize = 4 * 1024;
/// Larger storage is not kept: it would pin the memory of a burst.
const LARGEST_BYTES: usize = 128 * 1024;
/// Storage of at most this size is small: heads and handshakes should not use large storage.
const SMALL_BYTES: usize = 16 * 1024;
/// Maximum number kept of either size.
const KEPT: usize = 256;

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare { small: Vec::new(), large: Vec::new() }) };
}

/// Unused storage.
struct Spare {
    small: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

impl Spare {
    fn of_size(&mut self, bytes: usize) -> &mut Vec<Vec<u8>> {
        if bytes <= SMALL_BYTES { &mut self.small } else { &mut self.large }
    }
}

/// Bytes between a socket and TLS: filled at the back, taken from the front.
///
/// The storage is initialised once and passed from connection to connection, so that neither a
/// receive nor an encryption clears it first. An empty buffer that was released has none.
#[derive(Default)]
pub(crate) struct Buffer {
    storage: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// The bytes in it.
    pub(crate) fn filled(&self) -> &[u8] {
        &self.storage[self.start..self.end]
    }

    /// The bytes in it, to be decrypted in place.
    pub(crate) fn filled_mut(&mut self) -> &mut [u8] {
        &mut self.storage[self.start..self.end]
    }

    /// The number of bytes in it.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether it is empty.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Removes `n` bytes from the front, or all if there are fewer.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.end.min(self.start.saturating_add(n));
        if self.is_empty() {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Room for at least `room` bytes behind the last one. After writing, call [`Buffer::advance`].
    pub(crate) fn spare(&mut self, room: usize) -> &mut [u8] {
        if self.storage.is_empty() {
            self.storage = take_spare(room);
        }
        if self.storage.len() - self.end < room {
            self.storage.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        let wanted = self.end + room;
        if self.storage.len() < wanted {
            self.grow(wanted);
        }
        &mut self.storage[self.end..]
    }

    /// Moves the bytes, which begin at the front, to storage of at least `wanted` bytes.
    fn grow(&mut self, wanted: usize) {
        let lent = if wanted > SMALL_BYTES { take_spare(wanted) } else { Vec::new() };
        if lent.len() > self.storage.len() {
            let smaller = std::mem::replace(&mut self.storage, lent);
            self.storage[..self.end].copy_from_slice(&smaller[..self.end]);
            recycle(smaller);
        } else {
            recycle(lent);
        }
        if self.storage.len() < wanted {
            self.storage.resize(wanted.next_multiple_of(SMALLEST_BYTES), 0);
        }
    }

    /// Adds the first `n` bytes of the room that [`Buffer::spare`] returned.
    pub(crate) fn advance(&mut self, n: usize) {
        self.end = self.storage.len().min(self.end + n);
    }

    /// Adds bytes.
    pub(crate) fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.spare(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        self.advance(bytes.len());
    }

    /// Returns the storage if the buffer is empty.
    pub(crate) fn release_if_empty(&mut self) {
        if self.is_empty() {
            recycle(std::mem::take(&mut self.storage));
        }
    }

    /// The storage, and where its bytes begin and end; leaves an empty buffer.
    pub(super) fn take_parts(&mut self) -> (Vec<u8>, usize, usize) {
        let (start, end) = (self.start, self.end);
        (self.start, self.end) = (0, 0);
        (std::mem::take(&mut self.storage), start, end)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        recycle(std::mem::take(&mut self.storage));
    }
}

/// Keeps storage for the next buffer.
pub(super) fn recycle(storage: Vec<u8>) {
    if (SMALLEST_BYTES..=LARGEST_BYTES).contains(&storage.len()) {
        SPARE.with_borrow_mut(|spare| {
            let spare = spare.of_size(storage.len());
            if spare.len() < KEPT {
                spare.push(storage);
            }
        });
    }
}

/// Spare storage of the size class of so many bytes; empty if there is none.
fn take_spare(bytes: usize) -> Vec<u8> {
    SPARE.with_borrow_mut(|spare| spare.of_size(bytes).pop()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Extend(Vec<u8>),
        Consume(usize),
        Release,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..9000).prop_map(Step::Extend),
            (0..12000usize).prop_map(Step::Consume),
            Just(Step::Release),
        ];
        proptest::collection::vec(step, 0..30)
    }

    proptest! {
        #[test]
        fn a_buffer_is_a_queue_of_bytes(steps in steps()) {
            let mut buffer = Buffer::default();
            let mut model = std::collections::VecDeque::new();
            for step in steps {
                match step {
                    Step::Extend(bytes) => {
                        buffer.extend_from_slice(&bytes);
                        model.extend(bytes);
                    }
                    Step::Consume(n) => {
                        buffer.consume(n);
                        model.drain(..n.min(model.len()));
                    }
                    Step::Release => buffer.release_if_empty(),
                }
                prop_assert!(buffer.filled().iter().eq(model.iter()));
                prop_assert_eq!(buffer.len(), model.len());
            }
        }
    }

    #[test]
    fn storage_is_lent_on_when_its_buffer_is_empty() {
        let mut first = Buffer::default();
        first.extend_from_slice(&[7; 5000]);
        first.consume(5000);
        let address = first.storage.as_ptr();
        first.release_if_empty();
        let mut second = Buffer::default();
        second.extend_from_slice(b"x");
        assert_eq!(second.storage.as_ptr(), address);
        assert_eq!(second.filled(), b"x");
    }

    #[test]
    fn what_bulk_needs_is_not_lent_to_a_head() {
        let mut bulk = Buffer::default();
        bulk.spare(2 * SMALL_BYTES);
        drop(bulk);
        let mut head = Buffer::default();
        head.extend_from_slice(b"x");
        assert!(head.storage.len() <= SMALL_BYTES);
        let kept = SPARE.with_borrow(|spare| spare.large[0].as_ptr());
        head.spare(SMALL_BYTES);
        assert_eq!(head.storage.as_ptr(), kept, "unless it grows");
        assert_eq!(head.filled(), b"x");
    }
}
