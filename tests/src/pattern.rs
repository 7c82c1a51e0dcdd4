//! Bytes in any amount that are cheap to make and to check; a shift by any number is detected.

use std::sync::OnceLock;

/// A prime, so that no power of two hides a lost or doubled buffer.
const PERIOD: usize = 65_521;

/// The longest piece that [`at`] gives.
pub const MAX_PIECE: usize = 1 << 20;

/// The bytes from this offset on, at most [`MAX_PIECE`] of them.
///
/// # Panics
/// When asked for more.
pub fn at(offset: u64, length: usize) -> &'static [u8] {
    static BYTES: OnceLock<Vec<u8>> = OnceLock::new();
    let bytes = BYTES.get_or_init(|| {
        let mut state = 1_u32;
        let mut period = Vec::with_capacity(PERIOD);
        for _ in 0..PERIOD {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223); // Numerical Recipes
            period.push(state.to_be_bytes()[0]);
        }
        period.iter().copied().cycle().take(PERIOD + MAX_PIECE).collect()
    });
    let start = usize::try_from(offset % PERIOD as u64).expect("less than the period");
    &bytes[start..start + length]
}

/// Counts bytes and checks each against the pattern.
#[derive(Debug, Default)]
pub struct Checker {
    /// The number of bytes so far.
    pub count: u64,
    /// The offset of the first wrong byte.
    pub wrong_at: Option<u64>,
}

impl Checker {
    /// Takes the next bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(MAX_PIECE) {
            if self.wrong_at.is_none() && piece != at(self.count, piece.len()) {
                self.wrong_at = Some(self.count);
            }
            self.count += piece.len() as u64;
        }
    }
}
