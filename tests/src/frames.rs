//! HTTP/2 frame by frame (RFC 9113), for peers that do with frames what no library does.

use std::net::SocketAddr;

use crate::{Raw, backend::Conn, raw::TlsOptions};

/// DATA.
pub const DATA: u8 = 0;
/// HEADERS.
pub const HEADERS: u8 = 1;
/// PRIORITY.
pub const PRIORITY: u8 = 2;
/// RST_STREAM.
pub const RESET: u8 = 3;
/// SETTINGS.
pub const SETTINGS: u8 = 4;
/// PING.
pub const PING: u8 = 6;
/// GOAWAY.
pub const GOAWAY: u8 = 7;
/// WINDOW_UPDATE.
pub const WINDOW_UPDATE: u8 = 8;
/// The flag END_STREAM of DATA and HEADERS, and ACK of SETTINGS and PING.
pub const END: u8 = 1;
/// The flag END_HEADERS.
pub const END_HEADERS: u8 = 4;
/// The error code ENHANCE_YOUR_CALM, as it stands in a frame.
pub const ENHANCE_YOUR_CALM: [u8; 4] = [0, 0, 0, 11];

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;

/// The bytes of a frame.
///
/// # Panics
/// When the payload is longer than 64 KiB.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("a short payload").to_be_bytes();
    let [high, low] = length;
    [&[0, high, low, kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A frame that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 for the connection.
    pub stream: u32,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The frame with which `bytes` begin, and its length; `None` if it is incomplete.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let [high, middle, low, kind, flags, a, b, c, d] = *bytes.first_chunk()?;
        let end = HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize;
        let payload = bytes.get(HEADER_BYTES..end)?.to_vec();
        Some((Self { kind, flags, stream: u32::from_be_bytes([a, b, c, d]), payload }, end))
    }
}

/// A client.
#[derive(Debug)]
pub struct FrameClient {
    raw: Raw,
    name: String,
}

impl FrameClient {
    /// Connects and sends the preface, with these settings (6 bytes each).
    ///
    /// # Panics
    /// When the handshake fails.
    pub fn connect(address: SocketAddr, name: &str, settings: &[u8]) -> Self {
        let options = TlsOptions::name(name).alpn("h2");
        let mut raw = Raw::try_tls(address, &options).expect("a handshake");
        raw.send([PREFACE, &frame(SETTINGS, 0, 0, settings)].concat());
        Self { raw, name: name.to_owned() }
    }

    /// Sends frames. A read detects that the proxy has gone.
    pub fn send(&mut self, frames: &[u8]) -> &mut Self {
        self.raw.send(frames);
        self
    }

    /// Sends frames; false if the proxy does not accept them any more.
    pub fn try_send(&mut self, frames: &[u8]) -> bool {
        self.raw.try_send(frames).is_ok()
    }

    /// The frame of a GET.
    ///
    /// # Panics
    /// When a field is longer than 126 bytes.
    pub fn get(&self, stream: u32, path: &str) -> Vec<u8> {
        // HPACK: `:method: GET` and `:scheme: https` from the static table, `:authority` and `:path`
        // with its names and without Huffman coding.
        let mut block = vec![0x82, 0x87];
        for (name, value) in [(0x01, self.name.as_str()), (0x04, path)] {
            let length = u8::try_from(value.len()).expect("a short field");
            assert!(length < 127, "{value}");
            block.extend([name, length]);
            block.extend(value.as_bytes());
        }
        frame(HEADERS, END | END_HEADERS, stream, &block)
    }

    /// Receives the next frame.
    ///
    /// # Panics
    /// When the connection ends or the deadline passes first.
    pub fn receive(&mut self) -> Frame {
        let mut bytes = self.raw.exactly(HEADER_BYTES);
        let length = u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]]);
        bytes.extend(self.raw.exactly(length as usize));
        Frame::parse(&bytes).expect("a whole frame").0
    }

    /// Receives frames until one is as wanted.
    ///
    /// # Panics
    /// As [`FrameClient::receive`].
    pub fn until(&mut self, is_wanted: impl Fn(&Frame) -> bool) -> Frame {
        loop {
            let frame = self.receive();
            if is_wanted(&frame) {
                return frame;
            }
        }
    }

    /// The rest of the connection.
    pub fn into_raw(self) -> Raw {
        self.raw
    }
}

/// A server on a connection of [`crate::Backend`].
#[derive(Debug)]
pub struct FrameServer<'a> {
    conn: &'a mut Conn,
    received: Vec<u8>,
}

impl<'a> FrameServer<'a> {
    /// Begins, with these settings.
    pub fn new(conn: &'a mut Conn, settings: &[u8]) -> Self {
        conn.send(frame(SETTINGS, 0, 0, settings));
        Self { conn, received: Vec::new() }
    }

    /// Receives the next frame; `None` at the end. Acknowledges SETTINGS.
    pub fn receive(&mut self) -> Option<Frame> {
        if self.received.is_empty() {
            self.fill()?;
        }
        while self.received.starts_with(PREFACE) {
            self.received.drain(..PREFACE.len());
        }
        loop {
            if let Some((received, end)) = Frame::parse(&self.received) {
                self.received.drain(..end);
                if received.kind == SETTINGS && received.flags & END == 0 {
                    self.send(&frame(SETTINGS, END, 0, &[]));
                }
                return Some(received);
            }
            self.fill()?;
        }
    }

    /// Receives the stream of the next request; `None` at the end.
    pub fn request(&mut self) -> Option<u32> {
        loop {
            let received = self.receive()?;
            if received.kind == HEADERS {
                return Some(received.stream);
            }
        }
    }

    /// Answers a request with a `200` and this text.
    pub fn respond(&mut self, stream: u32, text: &str) {
        // `:status: 200` of HPACK's static table.
        let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
        self.send(&[head, frame(DATA, END, stream, text.as_bytes())].concat());
    }

    /// Sends frames; false if the client does not accept them any more.
    pub fn send(&mut self, frames: &[u8]) -> bool {
        self.conn.try_send(frames)
    }

    fn fill(&mut self) -> Option<()> {
        self.received.extend(self.conn.some()?);
        Some(())
    }
}
