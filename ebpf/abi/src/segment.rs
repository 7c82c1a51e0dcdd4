//! The kernel's view: one segment, one record, constant bounds.

use crate::Load;
use crate::hello::{self, CLIENT_HELLO, Cursor, MESSAGE_HEADER_LEN, Stop};
use crate::name::{HostName, Kind};
use crate::record;

/// The number of extensions that the kernel reads. Browsers send about twenty.
pub const MAX_EXTENSIONS: u32 = 64;

/// What one segment says about the requested name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The name is in the caller's [`HostName`].
    Name,
    /// A hello without a DNS name: no server_name extension, an IP literal, or bytes that are not a
    /// name. User space distinguishes them.
    NoName,
    /// The segment ends before the name.
    Truncated,
    /// Not the start of a TLS ClientHello.
    NotTls,
    /// A hello that user space must read: fragmented over records, over [`MAX_EXTENSIONS`], or
    /// malformed.
    Unsupported,
}

/// Reads the server name from the segment whose payload starts at `start` of `segment`.
///
/// The name is written into `name` instead of returned, because a BPF program has 512 bytes of
/// stack: the program keeps the name in a map. `name` is empty for every other outcome.
///
/// A name is reported as soon as it is complete, before the rest of the hello: it is a hint for
/// steering. User space decides whether the hello is valid.
#[inline(always)]
pub fn sni<L: Load + ?Sized>(segment: &L, start: u32, name: &mut HostName) -> Outcome {
    name.clear();
    let extensions = match open(segment, start) {
        Ok(hello) => hello::extensions(hello),
        Err(outcome) => return outcome,
    };
    let place = match extensions {
        Ok(extensions) => find_host_name(extensions),
        Err(stop) => NamePlace::none(stop.into()),
    };
    if place.len == 0 {
        return place.outcome;
    }
    match name.read(segment, place.offset, place.len) {
        Some(Kind::Dns) => Outcome::Name,
        Some(Kind::Other) => Outcome::NoName,
        None => Outcome::Truncated,
    }
}

impl From<Stop> for Outcome {
    #[inline(always)]
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Truncated => Self::Truncated,
            Stop::Malformed => Self::Unsupported,
        }
    }
}

/// The body of the hello, if the first record contains a whole hello.
#[inline(always)]
fn open<L: Load + ?Sized>(segment: &L, start: u32) -> Result<Cursor<'_, L>, Outcome> {
    // One byte first: the segment may have no more, and one byte is enough to detect HTTP.
    let Some([content_type]) = segment.load(start) else { return Err(Outcome::Truncated) };
    if content_type != record::HANDSHAKE {
        return Err(Outcome::NotTls);
    }
    let Some([_, major, _, len_high, len_low, message_type, size_high, size_mid, size_low]) =
        segment.load(start)
    else {
        return Err(Outcome::Truncated);
    };
    if major != record::MAJOR_VERSION || message_type != CLIENT_HELLO {
        return Err(Outcome::NotTls);
    }
    let record_len = u32::from(u16::from_be_bytes([len_high, len_low]));
    let size = u32::from_be_bytes([0, size_high, size_mid, size_low]);
    if size + MESSAGE_HEADER_LEN != record_len {
        return Err(Outcome::Unsupported);
    }
    let body = start.saturating_add(record::HEADER_LEN + MESSAGE_HEADER_LEN);
    Ok(Cursor::new(segment, body, size))
}

/// The place of the name in the segment.
///
/// Not an enum: the fields of one variant are stack that the other paths do not write, and verifiers
/// before Linux 6.3 reject a program that may read such stack, even if it never uses the value.
struct NamePlace {
    offset: u32,
    /// 0 if there is no name.
    len: u32,
    /// The reason why there is no name.
    outcome: Outcome,
}

impl NamePlace {
    #[inline(always)]
    const fn none(outcome: Outcome) -> Self {
        Self { offset: 0, len: 0, outcome }
    }
}

#[inline(always)]
fn find_host_name<L: Load + ?Sized>(mut extensions: Cursor<'_, L>) -> NamePlace {
    for _ in 0..MAX_EXTENSIONS {
        if extensions.is_empty() {
            return NamePlace::none(Outcome::NoName);
        }
        let mut extension = match hello::next_extension(&mut extensions) {
            Ok(extension) => extension,
            Err(stop) => return NamePlace::none(stop.into()),
        };
        if extension.is_server_name() {
            return match hello::host_name(&mut extension.body) {
                Ok(Some((offset, len))) => NamePlace { offset, len, outcome: Outcome::Name },
                Ok(None) => NamePlace::none(Outcome::NoName),
                Err(stop) => NamePlace::none(stop.into()),
            };
        }
    }
    NamePlace::none(Outcome::Unsupported)
}
