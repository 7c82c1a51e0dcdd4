//! The user-space view: the first bytes of a connection, over any number of segments and records.

use core::net::IpAddr;
use core::{error, fmt};

use crate::fragments::Fragments;
use crate::hello::{self, CLIENT_HELLO, Cursor, MESSAGE_HEADER_LEN, Stop};
use crate::load::{Load, RUN_LEN};
use crate::name::{HostName, Kind};
use crate::{http, record};

/// The longest ClientHello accepted, in bytes without its four-byte header: rustls's own limit for
/// a handshake message.
pub const MAX_MESSAGE_LEN: u32 = 0xffff;

/// The maximum length of a ClientHello on the wire, in bytes: the longest message, and 4 KiB of
/// record headers around it. A shorter hello may use more records: one of 10 kB may use records of
/// one byte each, which some clients send to pass filters.
pub const MAX_RECEIVED_LEN: usize =
    (MESSAGE_HEADER_LEN + MAX_MESSAGE_LEN) as usize + MAX_RECORD_HEADERS_LEN;

const MAX_RECORD_HEADERS_LEN: usize = 4096;

/// The meaning of the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is no allocator here to box the name with")]
pub enum Progress {
    /// The bytes may be the beginning of a hello.
    NeedMore {
        /// The answer does not change before this many bytes, counted from the first, have arrived.
        /// At most [`MAX_RECEIVED_LEN`].
        at_least: usize,
    },
    /// A whole ClientHello.
    Complete {
        /// The DNS name that the client asks for; `None` without a server_name extension, or with
        /// an IP literal in it, as in rustls.
        name: Option<HostName>,
        /// The length of the records that contain the hello, in bytes. TLS must read those bytes
        /// again.
        consumed: usize,
    },
    /// The bytes are not TLS.
    NotTls {
        /// The bytes begin an HTTP request, which an HTTP response explains better.
        plain_http: bool,
    },
    /// TLS, but not an acceptable ClientHello.
    Invalid(Invalid),
}

/// The reason why a hello is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A record that is not allowed here: another content type, or an unknown version.
    UnexpectedRecord,
    /// A record that is empty or over 2^14 + 2047 bytes.
    RecordLength,
    /// A handshake message that is not a ClientHello.
    UnexpectedMessage,
    /// A ClientHello over [`MAX_MESSAGE_LEN`], or over [`MAX_RECEIVED_LEN`] with its records.
    TooLarge,
    /// More handshake bytes after the ClientHello in its last record.
    TrailingData,
    /// Contradictory lengths, or a second server name.
    Malformed,
    /// A server_name extension with neither a DNS name nor an IP literal.
    ServerName,
}

/// Reads the first bytes of a connection once. To read again as more arrive, use a [`Reassembler`].
pub fn client_hello(received: &[u8]) -> Progress {
    Reassembler::default().advance(received)
}

/// Follows the records of one connection until they contain a ClientHello.
///
/// It copies nothing and walks each record once, so that a client that sends byte by byte, or a
/// byte per record, costs no more than any other.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reassembler {
    /// The offset of the first incomplete record.
    record_start: usize,
    /// The number of handshake bytes in the records before it.
    joined: u32,
    /// With fewer bytes than this the answer does not change.
    at_least: usize,
}

/// The reason why there is no hello (yet).
enum Pause {
    NeedMore { at_least: usize },
    NotTls { plain_http: bool },
    Invalid(Invalid),
}

impl Reassembler {
    /// Reads `received`: all bytes of the connection, from the first one. After
    /// [`Progress::NeedMore`] it is called again with the same bytes and more after them; any other
    /// answer is final.
    pub fn advance(&mut self, received: &[u8]) -> Progress {
        if received.len() < self.at_least {
            return Progress::NeedMore { at_least: self.at_least };
        }
        match self.join_records(received) {
            Ok(size) => read_hello(received, size, self.record_start),
            Err(Pause::NeedMore { at_least }) => {
                self.at_least = at_least;
                Progress::NeedMore { at_least }
            }
            Err(Pause::NotTls { plain_http }) => Progress::NotTls { plain_http },
            Err(Pause::Invalid(reason)) => Progress::Invalid(reason),
        }
    }

    /// Steps over whole records until they contain a whole hello. Returns its size without header.
    fn join_records(&mut self, received: &[u8]) -> Result<u32, Pause> {
        loop {
            if let Some(size) = self.joined_hello(received)? {
                return Ok(size);
            }
            let payload_len = self.record_header(received)?;
            let record_end =
                self.record_start + record::HEADER_LEN as usize + usize::from(payload_len);
            if record_end > MAX_RECEIVED_LEN {
                return Err(Pause::Invalid(Invalid::TooLarge));
            }
            if received.len() < record_end {
                return Err(Pause::NeedMore { at_least: record_end });
            }
            self.record_start = record_end;
            self.joined += u32::from(payload_len);
        }
    }

    /// The size of the hello, if the records up to `record_start` contain all of it.
    fn joined_hello(&self, received: &[u8]) -> Result<Option<u32>, Pause> {
        if self.joined < MESSAGE_HEADER_LEN {
            return Ok(None);
        }
        let Some([message_type, high, mid, low]) = Fragments::new(received).load(0) else {
            return Ok(None);
        };
        if message_type != CLIENT_HELLO {
            return Err(Pause::Invalid(Invalid::UnexpectedMessage));
        }
        let size = u32::from_be_bytes([0, high, mid, low]);
        if size > MAX_MESSAGE_LEN {
            return Err(Pause::Invalid(Invalid::TooLarge));
        }
        if self.joined > MESSAGE_HEADER_LEN + size {
            return Err(Pause::Invalid(Invalid::TrailingData));
        }
        Ok((self.joined == MESSAGE_HEADER_LEN + size).then_some(size))
    }

    /// The payload length of the record at `record_start`.
    fn record_header(&self, received: &[u8]) -> Result<u16, Pause> {
        let header = received.get(self.record_start..).unwrap_or(&[]);
        if self.record_start == 0 {
            look_for_tls(header)?;
        }
        match *header {
            [content_type, ..] if content_type != record::HANDSHAKE => {
                Err(Pause::Invalid(Invalid::UnexpectedRecord))
            }
            [_, major, ..] if major != record::MAJOR_VERSION => {
                Err(Pause::Invalid(Invalid::UnexpectedRecord))
            }
            [_, _, _, high, low, ..] => match u16::from_be_bytes([high, low]) {
                len @ 1..=record::MAX_PAYLOAD_LEN => Ok(len),
                _ => Err(Pause::Invalid(Invalid::RecordLength)),
            },
            _ => Err(Pause::NeedMore { at_least: received.len() + 1 }),
        }
    }
}

/// Whether the first bytes of the connection may begin a TLS record.
fn look_for_tls(received: &[u8]) -> Result<(), Pause> {
    let need_more = Err(Pause::NeedMore { at_least: received.len() + 1 });
    match *received {
        [content_type, ..] if !record::is_content_type(content_type) => {
            match http::is_request(received) {
                Some(plain_http) => Err(Pause::NotTls { plain_http }),
                None => need_more,
            }
        }
        [_, record::MAJOR_VERSION, ..] => Ok(()),
        [_, _, ..] => Err(Pause::NotTls { plain_http: false }),
        _ => need_more,
    }
}

fn read_hello(received: &[u8], size: u32, consumed: usize) -> Progress {
    let message = Fragments::new(received.get(..consumed).unwrap_or(received));
    match server_name(&message, size) {
        Ok(name) => Progress::Complete { name, consumed },
        Err(reason) => Progress::Invalid(reason),
    }
}

/// The server name in the hello of `size` bytes in `message`.
fn server_name(message: &Fragments<'_>, size: u32) -> Result<Option<HostName>, Invalid> {
    let body = Cursor::new(message, MESSAGE_HEADER_LEN, size);
    let mut extensions = hello::extensions(body)?;
    let mut found = None;
    while !extensions.is_empty() {
        let mut extension = hello::next_extension(&mut extensions)?;
        if !extension.is_server_name() {
            continue;
        }
        if found.is_some() {
            return Err(Invalid::Malformed);
        }
        found = Some(only_name(message, &mut extension.body)?);
    }
    Ok(found.flatten())
}

/// The one name of a server_name list; `None` for an IP literal, which counts as no name.
fn only_name(
    message: &Fragments<'_>,
    list: &mut Cursor<'_, Fragments<'_>>,
) -> Result<Option<HostName>, Invalid> {
    let (offset, len) = hello::host_name(list)?.ok_or(Invalid::ServerName)?;
    if hello::has_second_host_name(list)? {
        return Err(Invalid::Malformed);
    }
    let mut name = HostName::EMPTY;
    match name.read(message, offset, len).ok_or(Invalid::Malformed)? {
        Kind::Dns => Ok(Some(name)),
        Kind::Other if is_ip_literal(message, offset, len) => Ok(None),
        Kind::Other => Err(Invalid::ServerName),
    }
}

fn is_ip_literal(message: &Fragments<'_>, offset: u32, len: u32) -> bool {
    let mut buffer = [0; RUN_LEN];
    let bytes =
        message.load_run(offset, len, &mut buffer).and_then(|()| buffer.get(..len as usize));
    let text = bytes.and_then(|bytes| core::str::from_utf8(bytes).ok());
    text.is_some_and(|text| text.parse::<IpAddr>().is_ok())
}

impl Invalid {
    /// The alert to send (RFC 8446 section 6.2): rustls's alert if rustls sends one.
    pub const fn alert(self) -> u8 {
        const UNEXPECTED_MESSAGE: u8 = 10;
        const ILLEGAL_PARAMETER: u8 = 47;
        const DECODE_ERROR: u8 = 50;
        match self {
            Self::UnexpectedRecord | Self::UnexpectedMessage | Self::TrailingData => {
                UNEXPECTED_MESSAGE
            }
            Self::ServerName => ILLEGAL_PARAMETER,
            Self::RecordLength | Self::TooLarge | Self::Malformed => DECODE_ERROR,
        }
    }
}

impl From<Stop> for Invalid {
    /// The message is complete, so a read past its end means a false length.
    fn from(_: Stop) -> Self {
        Self::Malformed
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnexpectedRecord => "a record that does not belong to a ClientHello",
            Self::RecordLength => "a record with an illegal length",
            Self::UnexpectedMessage => "a handshake message that is not a ClientHello",
            Self::TooLarge => "a ClientHello over 64 KiB",
            Self::TrailingData => "handshake data behind the ClientHello",
            Self::Malformed => "a malformed ClientHello",
            Self::ServerName => "a server name that is not a DNS name",
        })
    }
}

impl error::Error for Invalid {}
