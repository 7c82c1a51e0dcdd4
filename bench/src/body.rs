//! Verifies the bodies of responses.

use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};
use ring::digest::{SHA256, digest};

/// The body that every response must have.
#[derive(Debug)]
pub(crate) struct Expected {
    /// The length of the body; `None` accepts any length.
    bytes: Option<usize>,
    sha256: Option<[u8; 32]>,
    /// The first body whose hash was right. All later bodies are compared with it byte by byte,
    /// which proves the same and takes a fraction of the time.
    reference: OnceLock<Box<[u8]>>,
}

/// A body that is arriving.
#[derive(Debug)]
pub(crate) struct Check<'a> {
    expected: &'a Expected,
    seen: usize,
    /// The bytes so far of a body that must be hashed.
    collected: Option<Vec<u8>>,
}

impl Expected {
    /// Expects a body of this length, with this hash in hexadecimal.
    pub(crate) fn new(bytes: Option<usize>, sha256: Option<&str>) -> Result<Self> {
        let sha256 = sha256.map(parse_sha256).transpose()?;
        Ok(Self { bytes, sha256, reference: OnceLock::new() })
    }

    /// Begins to verify a body.
    pub(crate) fn check(&self) -> Check<'_> {
        let hashes = self.sha256.is_some() && self.reference.get().is_none();
        Check { expected: self, seen: 0, collected: hashes.then(Vec::new) }
    }

    /// Describes the body for `done`.
    pub(crate) fn describe(&self) -> String {
        match (self.bytes, &self.sha256) {
            (None, _) => "any body".to_owned(),
            (Some(bytes), None) => format!("{bytes} bytes"),
            (Some(bytes), Some(hash)) => format!("{bytes} bytes sha256:{}", hex(&hash[..4])),
        }
    }
}

impl Check<'_> {
    /// Takes the next part of the body.
    pub(crate) fn part(&mut self, part: &[u8]) -> Result<()> {
        let begin = self.seen;
        self.seen += part.len();
        if let Some(bytes) = self.expected.bytes {
            ensure!(self.seen <= bytes, "a body of more than {bytes} bytes");
        }
        if let Some(collected) = &mut self.collected {
            collected.extend_from_slice(part);
        } else if let Some(reference) = self.expected.reference.get() {
            let same = reference.get(begin..self.seen) == Some(part);
            ensure!(same, "a wrong body, within bytes {begin}..{}", self.seen);
        }
        Ok(())
    }

    /// Verifies that the body is complete.
    pub(crate) fn finish(self) -> Result<()> {
        if let Some(bytes) = self.expected.bytes {
            ensure!(self.seen == bytes, "a body of {} bytes instead of {bytes}", self.seen);
        }
        if let (Some(body), Some(right)) = (self.collected, &self.expected.sha256) {
            let hash = digest(&SHA256, &body);
            ensure!(hash.as_ref() == right, "a body with SHA-256 {}", hex(hash.as_ref()));
            // Another connection may have set it first.
            let _ = self.expected.reference.set(body.into());
        }
        Ok(())
    }
}

fn parse_sha256(text: &str) -> Result<[u8; 32]> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    let byte = |pair: &[u8]| Some((digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?) as u8);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .with_context(|| format!("not a SHA-256 in hexadecimal: {text}"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn received(expected: &Expected, parts: &[&str]) -> Result<()> {
        let mut check = expected.check();
        for part in parts {
            check.part(part.as_bytes())?;
        }
        check.finish()
    }

    #[test]
    fn the_right_body_is_right_in_any_parts_and_however_often() {
        let expected = Expected::new(Some(3), Some(ABC)).unwrap();
        for parts in [&["abc"][..], &["a", "bc"], &["", "ab", "c"]] {
            received(&expected, parts).unwrap();
        }
    }

    #[test]
    fn a_wrong_hash_is_an_error_at_first() {
        let expected = Expected::new(Some(3), Some(ABC)).unwrap();
        let error = received(&expected, &["abd"]).unwrap_err().to_string();
        assert!(error.starts_with("a body with SHA-256 a52d159f"), "{error}");
    }

    #[test]
    fn a_wrong_body_is_an_error_after_a_right_one() {
        let expected = Expected::new(Some(3), Some(ABC)).unwrap();
        received(&expected, &["abc"]).unwrap();
        assert!(received(&expected, &["abd"]).is_err());
        assert!(received(&expected, &["ab", "d"]).is_err());
        received(&expected, &["abc"]).unwrap();
    }

    #[test]
    fn a_right_body_after_a_wrong_one_is_still_hashed() {
        let expected = Expected::new(Some(3), Some(ABC)).unwrap();
        assert!(received(&expected, &["abd"]).is_err());
        assert!(received(&expected, &["abd"]).is_err());
        received(&expected, &["abc"]).unwrap();
    }

    #[test]
    fn a_wrong_length_is_an_error() {
        let expected = Expected::new(Some(3), None).unwrap();
        assert!(received(&expected, &["ab"]).is_err());
        assert!(received(&expected, &["ab", "cd"]).is_err());
        assert!(received(&expected, &[]).is_err());
        received(&expected, &["xyz"]).unwrap();
    }

    #[test]
    fn a_part_of_the_right_body_is_an_error() {
        let expected = Expected::new(Some(3), Some(ABC)).unwrap();
        received(&expected, &["abc"]).unwrap();
        assert!(received(&expected, &["ab"]).is_err());
    }

    #[test]
    fn any_body_is_right_where_any_may_come() {
        let expected = Expected::new(None, None).unwrap();
        received(&expected, &["ab"]).unwrap();
        received(&expected, &[]).unwrap();
    }

    #[test]
    fn what_is_not_a_hash_is_not_taken_for_one() {
        for text in ["", "ba78", &ABC[1..], &ABC.replace('b', "g"), &format!("{ABC}00")] {
            assert!(Expected::new(Some(3), Some(text)).is_err(), "{text}");
        }
    }
}
