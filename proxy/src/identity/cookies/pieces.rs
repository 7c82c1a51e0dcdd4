//! A content in several cookies, since a browser keeps at most 4,096 bytes in one.
//!
//! Each piece is sealed by itself and says of which set it is, which, and of how many: junk and pieces
//! of other sets drop out one by one.

use ring::{error::Unspecified, rand::SecureRandom};

use crate::identity::{
    seal::{SEAL_OVERHEAD, SealPurpose, Seals},
    session::random_bytes,
    wire::{FieldReader, FieldWriter},
};

/// The most pieces of one content.
pub(super) const MAX_PIECES: usize = 5;

/// The longest value of one cookie, in bytes.
const MAX_VALUE_LEN: usize = 3_800;

/// The longest values of one set together, in bytes.
const MAX_SET_LEN: usize = 15 * 1024;

const SET_LEN: usize = 8;

/// The content of one piece, without what says its place.
const MAX_CHUNK_LEN: usize = MAX_VALUE_LEN / 4 * 3 - SEAL_OVERHEAD - SET_LEN - 2;

/// Why a content has no cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SplitError {
    TooLong,
    Random,
}

/// A content whose pieces were all there.
pub(super) struct JoinedPieces {
    pub(super) content: Vec<u8>,
    /// A previous secret opened a piece.
    pub(super) by_previous: bool,
}

/// Splits a content and seals the pieces: the values of `N`, `N_1`, …
pub(super) fn split(
    seals: &Seals,
    (purpose, scope): (SealPurpose, &str),
    content: &[u8],
    random: &dyn SecureRandom,
) -> Result<Vec<String>, SplitError> {
    let chunks: Vec<&[u8]> = content.chunks(MAX_CHUNK_LEN).collect();
    let count = u8::try_from(chunks.len()).map_err(|_| SplitError::TooLong)?;
    if usize::from(count) > MAX_PIECES {
        return Err(SplitError::TooLong);
    }
    let set = random_bytes::<SET_LEN>(random).map_err(|Unspecified| SplitError::Random)?;
    let mut values = Vec::with_capacity(chunks.len());
    for (index, chunk) in (0..count).zip(chunks) {
        let mut fields = FieldWriter::default();
        fields.fixed(&set).fixed(&[index, count]).fixed(chunk);
        let piece = fields.finish().ok_or(SplitError::TooLong)?;
        let value = seals.seal(purpose, scope, &piece, random);
        values.push(value.map_err(|Unspecified| SplitError::Random)?);
    }
    match values.iter().map(String::len).sum::<usize>() {
        0..=MAX_SET_LEN => Ok(values),
        _ => Err(SplitError::TooLong),
    }
}

/// Every set of which all pieces are there, each under its own name.
pub(super) fn join(
    seals: &Seals,
    (purpose, scope): (SealPurpose, &str),
    values: &[(u8, &[u8])],
) -> Vec<JoinedPieces> {
    let pieces: Vec<Piece> = values
        .iter()
        .filter(|(_, value)| value.len() <= MAX_VALUE_LEN)
        .filter_map(|(name, value)| {
            let unsealed = seals.open(purpose, scope, value)?;
            Piece::read(&unsealed.plaintext, unsealed.by_previous)
                .filter(|piece| piece.index == *name)
        })
        .collect();
    // Each set has one first piece, or it is the same cookie twice.
    let mut sets: Vec<JoinedPieces> = Vec::new();
    let mut seen = Vec::new();
    for first in pieces.iter().filter(|piece| piece.index == 0) {
        if !seen.contains(&first.set) {
            seen.push(first.set);
            sets.extend(complete(first, &pieces));
        }
    }
    sets
}

fn complete(first: &Piece, pieces: &[Piece]) -> Option<JoinedPieces> {
    let mut joined = JoinedPieces { content: Vec::new(), by_previous: false };
    for index in 0..first.count {
        let piece = pieces.iter().find(|piece| {
            piece.set == first.set && piece.count == first.count && piece.index == index
        })?;
        joined.content.extend(&piece.chunk);
        joined.by_previous |= piece.by_previous;
    }
    Some(joined)
}

struct Piece {
    set: [u8; SET_LEN],
    index: u8,
    count: u8,
    chunk: Vec<u8>,
    by_previous: bool,
}

impl Piece {
    fn read(bytes: &[u8], by_previous: bool) -> Option<Piece> {
        let mut fields = FieldReader::new(bytes);
        let set = fields.fixed()?;
        let [index, count] = fields.fixed()?;
        let chunk = fields.rest().to_vec();
        (index < count && usize::from(count) <= MAX_PIECES).then_some(Piece {
            set,
            index,
            count,
            chunk,
            by_previous,
        })
    }
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;

    use super::*;
    use crate::identity::spec::SealSecret;

    const NONE: [usize; 0] = [];
    const AT: (SealPurpose, &str) = (SealPurpose::Session, "a.example");

    fn seals() -> Seals {
        Seals::new(&SealSecret([1; 32]), None, &[])
    }

    fn split_at(length: usize) -> Result<Vec<String>, SplitError> {
        split(&seals(), AT, &vec![7; length], &SystemRandom::new())
    }

    fn named(values: &[String]) -> Vec<(u8, &[u8])> {
        (0..).zip(values.iter().map(String::as_bytes)).collect()
    }

    fn joined(values: &[(u8, &[u8])]) -> Vec<usize> {
        join(&seals(), AT, values).iter().map(|set| set.content.len()).collect()
    }

    #[test]
    fn a_content_of_any_length_up_to_the_limit_comes_back() {
        for length in [1, 100, MAX_CHUNK_LEN, MAX_CHUNK_LEN + 1, 8_000, 11_000] {
            let values = split_at(length).unwrap();
            assert_eq!(values.len(), length.div_ceil(MAX_CHUNK_LEN));
            assert!(values.iter().all(|value| value.len() <= MAX_VALUE_LEN));
            assert_eq!(joined(&named(&values)), [length]);
        }
        assert_eq!(split_at(11_400), Err(SplitError::TooLong));
        assert_eq!(split_at(100_000), Err(SplitError::TooLong));
        assert_eq!(split_at(1_000_000), Err(SplitError::TooLong));
    }

    #[test]
    fn a_set_without_one_of_its_pieces_does_not_count() {
        let values = split_at(8_000).unwrap();
        for missing in 0..values.len() {
            let mut some = named(&values);
            some.remove(missing);
            assert_eq!(joined(&some), NONE);
        }
    }

    #[test]
    fn pieces_under_the_names_of_others_do_not_count() {
        let values = split_at(5_000).unwrap();
        let [a, b] = [0, 1].map(|index| values[index].as_bytes());
        assert_eq!(joined(&[(0, b), (1, a)]), NONE);
        assert_eq!(joined(&[(1, b), (0, a)]), [5_000]);
        assert_eq!(joined(&[(0, a), (2, b)]), NONE);
    }

    #[test]
    fn pieces_of_two_sets_do_not_mix() {
        let (a, b) = (split_at(5_000).unwrap(), split_at(5_001).unwrap());
        let [a0, a1] = [0, 1].map(|index| a[index].as_bytes());
        let [b0, b1] = [0, 1].map(|index| b[index].as_bytes());
        assert_eq!(joined(&[(0, a0), (1, b1)]), NONE);
        assert_eq!(joined(&[(0, a0), (1, b1), (0, b0)]), [5_001]);
        assert_eq!(joined(&[(0, a0), (1, b1), (0, b0), (1, a1)]), [5_000, 5_001]);
    }

    #[test]
    fn a_piece_that_says_another_count_does_not_fit() {
        let piece = |index: u8, count: u8| {
            let bytes = [&[5; 8][..], &[index, count], b"x"].concat();
            seals().seal(AT.0, AT.1, &bytes, &SystemRandom::new()).unwrap()
        };
        let set = |pieces: &[(u8, u8)]| {
            let values: Vec<_> =
                pieces.iter().map(|(index, count)| piece(*index, *count)).collect();
            joined(&named(&values))
        };
        assert_eq!(set(&[(0, 2), (1, 2)]), [2]);
        assert_eq!(set(&[(0, 2), (1, 3)]), NONE);
        assert_eq!(set(&[(0, 1), (1, 2)]), [1]);
        assert_eq!(set(&[(0, 0)]), NONE);
        assert_eq!(set(&[(0, 6), (1, 6), (2, 6), (3, 6), (4, 6), (5, 6)]), NONE);
    }

    #[test]
    fn junk_drops_out_and_the_same_cookie_twice_counts_once() {
        let values = split_at(5_000).unwrap();
        let mut with_junk = vec![(0, &b"junk"[..]), (1, b""), (0, &[0xff; 3]), (4, b"AZiFzyw")];
        with_junk.extend(named(&values));
        with_junk.extend(named(&values));
        assert_eq!(joined(&with_junk), [5_000]);
    }

    #[test]
    fn a_value_longer_than_a_cookie_is_not_opened() {
        let long = seals()
            .seal(AT.0, AT.1, &[&[5; 8][..], &[0, 1], &[7; 4_000]].concat(), &SystemRandom::new())
            .unwrap();
        assert_eq!(joined(&[(0, long.as_bytes())]), NONE);
    }
}
