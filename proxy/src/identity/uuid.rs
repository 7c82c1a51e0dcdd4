//! UUIDs of version 4 (RFC 9562, section 5.4). Pure.

use ring::rand::SecureRandom;

use crate::digest::hex;

/// A new one, in its text form; `None` if the random generator fails.
pub(crate) fn random(random: &dyn SecureRandom) -> Option<String> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).ok()?;
    Some(text(bytes))
}

/// The text form of 128 bits. Its version and variant replace six of them.
pub(crate) fn text(mut bytes: [u8; 16]) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits = hex(&bytes);
    let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part));
    parts.map(Option::unwrap_or_default).join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_version_4_and_variant_1() {
        assert_eq!(text([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(text([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
