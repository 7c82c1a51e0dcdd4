//! Sealed objects as text: unpadded base64url (RFC 4648, section 5), one text for each value.
//!
//! A worker decodes a text of each session that it has not seen before. A table for each place in a group
//! of four characters takes a third of the instructions that the crate `base64` takes.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

/// What a character stands for at each of the four places, or [`FOREIGN`].
static PLACES: [[u32; 256]; 4] = [places(18), places(12), places(6), places(0)];
/// No group of four characters has this bit.
const FOREIGN: u32 = 1 << 24;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// `None` for padding, white space, foreign characters and superfluous bits.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let (groups, rest) = text.as_chunks::<4>();
    let last_len = match rest.len() {
        0 => 0,
        2 => 1,
        3 => 2,
        _ => return None,
    };
    let mut bytes = vec![0; 3 * groups.len() + last_len];
    let (whole, last) = bytes.as_chunks_mut::<3>();
    let mut seen = 0;
    for (to, group) in whole.iter_mut().zip(groups) {
        let bits = bits(*group);
        seen |= bits;
        let [_, bytes @ ..] = bits.to_be_bytes();
        *to = bytes;
    }
    if last_len > 0 {
        let mut group = [b'A'; 4];
        group.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        let bits = bits(group);
        let [_, first, second, third] = bits.to_be_bytes();
        let (values, superfluous) =
            if last_len == 1 { ([first, 0], second) } else { ([first, second], third) };
        last.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        seen |= bits | if superfluous == 0 { 0 } else { FOREIGN };
    }
    (seen < FOREIGN).then_some(bytes)
}

fn bits(group: [u8; 4]) -> u32 {
    let places = PLACES.iter().zip(group);
    let at = |(place, byte): (&[u32; 256], u8)| place.get(usize::from(byte)).copied();
    places.map(at).fold(0, |all, bits| all | bits.unwrap_or(FOREIGN))
}

const fn places(shift: u32) -> [u32; 256] {
    let mut places = [FOREIGN; 256];
    let mut value = 0;
    while value < ALPHABET.len() {
        places[ALPHABET[value] as usize] = (value as u32) << shift;
        value += 1;
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_the_crate(text: &[u8]) -> Option<Vec<u8>> {
        BASE64_URL_SAFE_NO_PAD.decode(text).ok()
    }

    #[test]
    fn every_text_of_two_and_three_characters_is_read_as_the_crate_reads_it() {
        for first in 0..=255 {
            for second in 0..=255 {
                let text = [first, second];
                assert_eq!(decode(&text), by_the_crate(&text), "{text:?}");
                for others in [[b'A', b'A'], [b'A', second], [second, first], [b'_', b'=']] {
                    let text = [first, second, others[0], others[1]];
                    assert_eq!(decode(&text), by_the_crate(&text), "{text:?}");
                    assert_eq!(decode(&text[..3]), by_the_crate(&text[..3]), "{text:?}");
                }
            }
        }
        for text in ["", "A", "AAAAA", "AA==", "AAA=", "AA A", "AAAA\n", "+/+/", "-_-_"] {
            assert_eq!(decode(text.as_bytes()), by_the_crate(text.as_bytes()), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_of_any_kind_come_back(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            prop_assert_eq!(decode(encode(&bytes).as_bytes()), Some(bytes));
        }

        #[test]
        fn any_text_is_read_as_the_crate_reads_it(
            text in proptest::collection::vec(prop_oneof![4 => 43u8..123, 1 => any::<u8>()], 0..40),
        ) {
            prop_assert_eq!(decode(&text), by_the_crate(&text));
        }
    }
}
