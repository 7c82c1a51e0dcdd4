//! The frames of an HTTP/2 peer, followed beside h2: what the peer is in the middle of, and how much of
//! what it sends is there for the connection alone. Pure.

mod limit;
mod streams;
mod windows;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

pub(crate) use limit::ControlFrameLimit;
use streams::OpenedStreams;
pub(crate) use windows::ClientWindows;
use windows::{WindowFrame, WindowReader};

/// What handling a frame costs, in bytes that are copied in the same time.
const FRAME_COST_BYTES: usize = 128;

/// Follows the frames of a peer (RFC 9113). It only counts their bytes and recognizes the frames that
/// carry a message's head; h2 validates them.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Whether SETTINGS have begun. h2 accepts other frames before them.
    opened: bool,
    /// The part that began last.
    part: Part,
    /// How many bytes of it are still to come.
    left: usize,
    /// The part of the next frame's header that has come.
    header: [u8; FRAME_HEADER_BYTES],
    header_len: usize,
    counts: FrameCounts,
    /// A client's; `None` for a server.
    streams: Option<OpenedStreams>,
    /// The same.
    windows: Option<Rc<ClientWindows>>,
    window_frame: WindowReader,
}

/// The bytes of the frames that have begun, their headers included.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameCounts {
    /// Frames of field blocks that are not empty.
    pub fields: u64,
    /// DATA frames that are not empty.
    pub data: u64,
    /// All other frames.
    pub control: u64,
    /// The frames with which h2 answers PING and SETTINGS.
    pub replies: u64,
}

/// What passes on an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2Traffic {
    received: RefCell<Frames>,
    sent: Cell<u64>,
    /// The last write was taken in part.
    is_cut: Cell<bool>,
}

impl Http2Traffic {
    /// Nothing yet.
    pub(crate) fn new(peer: Frames) -> Http2Traffic {
        Http2Traffic { received: RefCell::new(peer), sent: Cell::new(0), is_cut: Cell::new(false) }
    }

    /// Notes bytes from the peer; returns what handling their frames costs, in bytes.
    pub(crate) fn receive(&self, bytes: &[u8]) -> usize {
        self.received.borrow_mut().pass(bytes) * FRAME_COST_BYTES
    }

    /// Notes a write of so many bytes of which so many were taken. h2 writes whole frames.
    pub(crate) fn send(&self, offered: usize, taken: usize) {
        self.sent.set(self.sent.get() + taken as u64);
        self.is_cut.set(taken < offered);
    }

    /// Whether what was sent ends with a whole frame.
    pub(crate) fn is_sent_whole(&self) -> bool {
        !self.is_cut.get()
    }

    /// What the peer has sent.
    pub(crate) fn counts(&self) -> FrameCounts {
        self.received.borrow().counts
    }

    /// How much of what was sent to the peer is messages, and no reply to a control frame.
    pub(crate) fn sent_in_messages(&self) -> u64 {
        self.sent.get().saturating_sub(self.counts().replies)
    }

    /// The stream of the client's next request. To be called once for each, in h2's order.
    pub(crate) fn claim_stream(&self) -> Option<u32> {
        self.received.borrow_mut().streams.as_mut()?.claim()
    }

    /// A client's windows.
    pub(crate) fn windows(&self) -> Option<Rc<ClientWindows>> {
        self.received.borrow().windows.clone()
    }

    /// How many bytes a client keeps back by windows that it lowered late.
    pub(crate) fn kept_back(&self) -> Option<u64> {
        self.received.borrow().windows.as_ref()?.kept_back()
    }

    /// Whether all claimed streams are certain.
    pub(crate) fn knows_streams(&self) -> bool {
        self.received.borrow().streams.as_ref().is_some_and(OpenedStreams::is_certain)
    }

    /// What a client has begun and not finished.
    pub(crate) fn unfinished(&self) -> Option<Unfinished> {
        self.received.borrow().unfinished()
    }
}

/// What a client has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfinished {
    /// The connection preface (section 3.4), SETTINGS included.
    Preface,
    /// A field block: HEADERS, and CONTINUATION until END_HEADERS (section 4.3). No other frame may come
    /// before its end.
    Head,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    /// The fixed bytes at the start of a connection.
    Preface,
    /// The first SETTINGS frame.
    Settings,
    /// A frame of a field block; `last` if it ends the block.
    Fields { last: bool },
    /// Any other frame.
    Other,
}

const PREFACE_BYTES: usize = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();
const FRAME_HEADER_BYTES: usize = 9;
const PING_BYTES: u64 = 17;
const SETTINGS_ACK_BYTES: u64 = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// The bits of a stream's ID (section 4.1).
const STREAM_ID: u32 = u32::MAX >> 1;

impl Frames {
    /// A client's, before the first byte.
    pub(crate) fn of_client() -> Frames {
        Frames {
            part: Part::Preface,
            left: PREFACE_BYTES,
            streams: Some(OpenedStreams::default()),
            windows: Some(Rc::default()),
            ..Frames::of_server()
        }
    }

    /// A server's, before the first byte.
    pub(crate) fn of_server() -> Frames {
        Frames {
            opened: false,
            part: Part::Other,
            left: 0,
            header: [0; FRAME_HEADER_BYTES],
            header_len: 0,
            counts: FrameCounts::default(),
            streams: None,
            windows: None,
            window_frame: WindowReader::default(),
        }
    }

    /// Follows the next bytes; returns how many frames begin in them.
    fn pass(&mut self, mut bytes: &[u8]) -> usize {
        let mut begun = 0;
        loop {
            let (payload, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= payload.len();
            bytes = rest;
            if let Some(windows) = &self.windows {
                self.window_frame.read(payload, windows);
            }
            if bytes.is_empty() {
                return begun;
            }
            let room = &mut self.header[self.header_len..];
            let taken = bytes.len().min(room.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
            self.header_len += taken;
            bytes = &bytes[taken..];
            if self.header_len < FRAME_HEADER_BYTES {
                return begun;
            }
            self.begin();
            begun += 1;
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, stream @ ..] = self.header;
        let stream = u32::from_be_bytes(stream) & STREAM_ID;
        if let (HEADERS, Some(streams)) = (kind, &mut self.streams) {
            streams.open(stream);
        }
        self.window_frame.begin(match kind {
            SETTINGS if flags & ACK == 0 => Some(WindowFrame::Settings),
            WINDOW_UPDATE if stream == 0 => Some(WindowFrame::Update),
            _ => None,
        });
        self.header_len = 0;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.part = match kind {
            SETTINGS if !self.opened => Part::Settings,
            HEADERS | CONTINUATION => Part::Fields { last: flags & END_HEADERS != 0 },
            _ => Part::Other,
        };
        self.opened |= kind == SETTINGS;
        self.count(kind, flags);
    }

    fn count(&mut self, kind: u8, flags: u8) {
        let bytes = (FRAME_HEADER_BYTES + self.left) as u64;
        let counts = &mut self.counts;
        match kind {
            DATA if self.left > 0 => counts.data += bytes,
            HEADERS | CONTINUATION if self.left > 0 => counts.fields += bytes,
            _ => counts.control += bytes,
        }
        match kind {
            PING if flags & ACK == 0 => counts.replies += PING_BYTES,
            SETTINGS if flags & ACK == 0 => counts.replies += SETTINGS_ACK_BYTES,
            _ => {}
        }
    }

    /// What a client has begun and not finished.
    fn unfinished(&self) -> Option<Unfinished> {
        match self.part {
            _ if !self.opened => Some(Unfinished::Preface),
            Part::Settings => (self.left > 0).then_some(Unfinished::Preface),
            Part::Fields { last } => (self.left > 0 || !last).then_some(Unfinished::Head),
            Part::Preface | Part::Other => None,
        }
    }
}

#[cfg(test)]
mod tests;
