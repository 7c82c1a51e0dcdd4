//! Just enough DER to walk a CRL. x509-parser returns an empty list of revoked certificates if one
//! entry is malformed, which would accept all of them.

/// `INTEGER`.
pub(super) const INTEGER: u8 = 0x02;
/// `BIT STRING`.
pub(super) const BIT_STRING: u8 = 0x03;
/// `OCTET STRING`.
pub(super) const OCTET_STRING: u8 = 0x04;
/// `OBJECT IDENTIFIER`.
pub(super) const OID: u8 = 0x06;
/// `BOOLEAN`.
pub(super) const BOOLEAN: u8 = 0x01;
/// `UTCTime`.
pub(super) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub(super) const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`.
pub(super) const SEQUENCE: u8 = 0x30;

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// Class, form and number in one byte; longer tags do not occur in X.509.
    pub(super) tag: u8,
    /// The contents.
    pub(super) contents: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

/// Reads elements one after the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next element; `None` if there is none or it is not DER.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], after) = self.rest.split_first_chunk::<2>()?;
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, after) = match first {
            0..=0x7f => (usize::from(first), after),
            _ => long_length(first & 0x7f, after)?,
        };
        let (contents, rest) = after.split_at_checked(len)?;
        let whole = self.rest.get(..self.rest.len() - rest.len())?;
        self.rest = rest;
        Some(Element { tag, contents, whole })
    }

    /// The next element if it has this tag; otherwise nothing is read.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        if self.rest.first() == Some(&tag) { self.any() } else { None }
    }

    /// The contents of the next element, which must have this tag.
    pub(super) fn contents(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag).map(|element| element.contents)
    }

    /// A bit string of whole bytes.
    pub(super) fn whole_bytes(&mut self) -> Option<&'a [u8]> {
        match self.contents(BIT_STRING)?.split_first()? {
            (0, bytes) => Some(bytes),
            _ => None,
        }
    }
}

/// A length of one to four bytes, not longer than it needs to be.
fn long_length(bytes: u8, after: &[u8]) -> Option<(usize, &[u8])> {
    if !(1..=4).contains(&bytes) {
        return None;
    }
    let (digits, rest) = after.split_at_checked(usize::from(bytes))?;
    let len = digits.iter().fold(0_usize, |len, digit| len << 8 | usize::from(*digit));
    (len >= 0x80 && digits.first() != Some(&0)).then_some((len, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(bytes: &[u8]) -> Option<(u8, &[u8])> {
        let mut reader = Reader::new(bytes);
        let element = reader.any()?;
        reader.is_at_end().then_some((element.tag, element.contents))
    }

    #[test]
    fn an_element_has_the_length_it_says() {
        assert_eq!(only(b"\x04\x02ab"), Some((OCTET_STRING, b"ab".as_slice())));
        assert_eq!(only(b"\x04\x00"), Some((OCTET_STRING, b"".as_slice())));
        let long = [b"\x04\x81\x80".as_slice(), &[7; 128]].concat();
        assert_eq!(only(&long), Some((OCTET_STRING, [7; 128].as_slice())));
        assert_eq!(only(b"\x04\x03ab"), None, "cut short");
    }

    #[test]
    fn what_has_two_encodings_in_ber_has_one_here() {
        assert_eq!(only(b"\x04\x81\x02ab"), None, "a length longer than needed");
        assert_eq!(only(&[b"\x04\x82\x00\x80".as_slice(), &[7; 128]].concat()), None);
        assert_eq!(only(b"\x30\x80\x00\x00"), None, "no length");
        assert_eq!(only(b"\x04\x85\x00\x00\x00\x00\x01a"), None, "a length of five bytes");
        assert_eq!(only(b"\x1f\x01\x00"), None, "a tag of two bytes");
    }

    #[test]
    fn an_absent_optional_element_leaves_the_next_unread() {
        let mut reader = Reader::new(b"\x02\x01\x05\x30\x00");
        assert_eq!(reader.optional(SEQUENCE), None);
        assert_eq!(reader.contents(INTEGER), Some(b"\x05".as_slice()));
        assert_eq!(reader.contents(SEQUENCE), Some(b"".as_slice()));
        assert!(reader.is_at_end());
        assert_eq!(reader.any(), None);
    }

    #[test]
    fn a_bit_string_with_bits_left_over_is_no_signature() {
        assert_eq!(Reader::new(b"\x03\x02\x00a").whole_bytes(), Some(b"a".as_slice()));
        assert_eq!(Reader::new(b"\x03\x02\x01a").whole_bytes(), None);
        assert_eq!(Reader::new(b"\x03\x00").whole_bytes(), None);
    }
}
