//! SHA-256, by which contents, certificates and settings are told apart, and bytes as text. Pure.

use std::fmt::Write as _;

use ring::digest::{Context, SHA256, digest};

/// SHA-256 of one text.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    to_array(&digest(&SHA256, bytes))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// SHA-256 over fields, each preceded by its length, so that no two lists of fields have the same
/// bytes.
pub(crate) struct Digest(Context);

impl Default for Digest {
    fn default() -> Self {
        Digest(Context::new(&SHA256))
    }
}

impl Digest {
    pub(crate) fn field(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        to_array(&self.0.finish())
    }
}

fn to_array(digest: &ring::digest::Digest) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_fields(fields: &[&str]) -> [u8; 32] {
        let mut digest = Digest::default();
        fields.iter().for_each(|field| digest.field(field.as_bytes()));
        digest.finish()
    }

    #[test]
    fn fields_that_are_split_elsewhere_have_another_digest() {
        let lists: [&[&str]; 5] = [&[], &["ab"], &["a", "b"], &["", "ab"], &["ab", ""]];
        for (at, list) in lists.iter().enumerate() {
            let same: Vec<_> = lists.iter().filter(|o| of_fields(o) == of_fields(list)).collect();
            assert_eq!(same, [list], "{at}");
        }
    }

    #[test]
    fn the_digest_of_one_text_is_the_standard_one() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(sha256(b"abc")[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_ne!(sha256(b"abc"), of_fields(&["abc"]));
    }
}
