//! Fields in a row, as sealed objects hold them: numbers of fixed length, and texts with their length
//! in front. Pure.

/// Writes fields.
#[derive(Default)]
pub(super) struct FieldWriter {
    bytes: Vec<u8>,
    /// A text was too long.
    overflown: bool,
}

/// Reads them back; each method answers `None` when the bytes do not hold the field.
pub(super) struct FieldReader<'a>(&'a [u8]);

impl FieldWriter {
    /// Bytes of a length that the reader knows.
    pub(super) fn fixed(&mut self, bytes: &[u8]) -> &mut FieldWriter {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut FieldWriter {
        self.fixed(&number.to_be_bytes())
    }

    /// At most 65,535 bytes.
    pub(super) fn text(&mut self, bytes: &[u8]) -> &mut FieldWriter {
        match u16::try_from(bytes.len()) {
            Ok(length) => self.fixed(&length.to_be_bytes()).fixed(bytes),
            Err(_) => {
                self.overflown = true;
                self
            }
        }
    }

    /// At most 4 GiB.
    pub(super) fn long(&mut self, bytes: &[u8]) -> &mut FieldWriter {
        match u32::try_from(bytes.len()) {
            Ok(length) => self.fixed(&length.to_be_bytes()).fixed(bytes),
            Err(_) => {
                self.overflown = true;
                self
            }
        }
    }

    /// `None` if a text was too long.
    pub(super) fn finish(self) -> Option<Vec<u8>> {
        (!self.overflown).then_some(self.bytes)
    }
}

impl<'a> FieldReader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> FieldReader<'a> {
        FieldReader(bytes)
    }

    pub(super) fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        self.fixed().map(u64::from_be_bytes)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes(self.fixed()?));
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn long(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(u32::from_be_bytes(self.fixed()?)).ok()?;
        let (field, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// Everything that is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `None` if bytes are left.
    pub(super) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
