//! Whether an HTTP/2 client is in the middle of something that it should send at once.

/// Follows the frames of a client (RFC 9113). It only counts their bytes and recognizes the frames that
/// carry a request's head; h2 validates them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frames {
    /// Whether SETTINGS have begun. h2 accepts other frames before them.
    opened: bool,
    /// The part that began last.
    part: Part,
    /// How many bytes of it are still to come.
    left: usize,
    /// The part of the next frame's header that has come.
    header: [u8; FRAME_HEADER_BYTES],
    header_len: usize,
}

/// What a client has begun and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfinished {
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
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

impl Frames {
    /// Before the first byte.
    pub(super) fn new() -> Frames {
        Frames {
            opened: false,
            part: Part::Preface,
            left: PREFACE_BYTES,
            header: [0; FRAME_HEADER_BYTES],
            header_len: 0,
        }
    }

    /// Follows the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        loop {
            let payload = bytes.len().min(self.left);
            self.left -= payload;
            bytes = &bytes[payload..];
            if bytes.is_empty() {
                return;
            }
            let room = &mut self.header[self.header_len..];
            let taken = bytes.len().min(room.len());
            room[..taken].copy_from_slice(&bytes[..taken]);
            self.header_len += taken;
            bytes = &bytes[taken..];
            if self.header_len < FRAME_HEADER_BYTES {
                return;
            }
            self.begin();
        }
    }

    fn begin(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.header;
        self.header_len = 0;
        self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
        self.part = match kind {
            SETTINGS if !self.opened => Part::Settings,
            HEADERS | CONTINUATION => Part::Fields { last: flags & END_HEADERS != 0 },
            _ => Part::Other,
        };
        self.opened |= kind == SETTINGS;
    }

    /// What the client has begun and not finished.
    pub(super) fn unfinished(&self) -> Option<Unfinished> {
        match self.part {
            _ if !self.opened => Some(Unfinished::Preface),
            Part::Settings => (self.left > 0).then_some(Unfinished::Preface),
            Part::Fields { last } => (self.left > 0 || !last).then_some(Unfinished::Head),
            Part::Preface | Part::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const FIRST_SETTINGS: &[u8] = b"\0\0\x06\x04\0\0\0\0\0\0\x03\0\0\0\x64";

    fn frame(kind: u8, flags: u8, payload_bytes: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, payload_bytes, kind, flags, 0, 0, 0, 1];
        frame.extend(vec![0xff; payload_bytes.into()]);
        frame
    }

    fn opened() -> Frames {
        let mut frames = Frames::new();
        frames.pass(PREFACE);
        frames.pass(FIRST_SETTINGS);
        frames
    }

    #[test]
    fn a_preface_is_unfinished_until_the_last_byte_of_its_settings() {
        let opening = [PREFACE, FIRST_SETTINGS].concat();
        let mut frames = Frames::new();
        for byte in opening {
            assert_eq!(frames.unfinished(), Some(Unfinished::Preface));
            frames.pass(&[byte]);
        }
        assert_eq!(frames.unfinished(), None);
    }

    #[test]
    fn an_empty_settings_frame_ends_the_preface() {
        let mut frames = Frames::new();
        frames.pass(PREFACE);
        frames.pass(&frame(SETTINGS, 0, 0));
        assert_eq!(frames.unfinished(), None);
    }

    #[test]
    fn other_frames_do_not_stand_for_settings() {
        let mut frames = Frames::new();
        frames.pass(PREFACE);
        frames.pass(&frame(6, 0, 8));
        frames.pass(&frame(HEADERS, END_HEADERS, 1));
        assert_eq!(frames.unfinished(), Some(Unfinished::Preface));
        frames.pass(&frame(SETTINGS, 0, 6));
        assert_eq!(frames.unfinished(), None);
    }

    #[test]
    fn a_head_is_unfinished_until_end_headers() {
        let mut frames = opened();
        frames.pass(&frame(HEADERS, 0, 20));
        assert_eq!(frames.unfinished(), Some(Unfinished::Head));
        frames.pass(&frame(CONTINUATION, 0, 0));
        assert_eq!(frames.unfinished(), Some(Unfinished::Head));
        let last = frame(CONTINUATION, END_HEADERS, 5);
        frames.pass(&last[..last.len() - 1]);
        assert_eq!(frames.unfinished(), Some(Unfinished::Head));
        frames.pass(&last[last.len() - 1..]);
        assert_eq!(frames.unfinished(), None);
    }

    #[test]
    fn other_frames_may_take_their_time() {
        let mut frames = opened();
        let data = frame(0, 0, 200);
        frames.pass(&data[..100]);
        assert_eq!(frames.unfinished(), None);
        frames.pass(&data[100..]);
        frames.pass(&frame(6, 0, 8));
        frames.pass(&frame(SETTINGS, 0, 6)[..12]);
        assert_eq!(frames.unfinished(), None);
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            sent in prop::collection::vec((0..10u8, any::<u8>(), 0..40u8), 0..8),
            cuts in prop::collection::vec(1..30usize, 1..50),
            end in 0..400usize,
        ) {
            let mut bytes = [PREFACE, FIRST_SETTINGS].concat();
            bytes.extend(sent.iter().flat_map(|&(kind, flags, len)| frame(kind, flags, len)));
            bytes.truncate(end);
            let (mut whole, mut cut) = (Frames::new(), Frames::new());
            whole.pass(&bytes);
            let mut rest = &bytes[..];
            for length in cuts.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, behind) = rest.split_at((*length).min(rest.len()));
                cut.pass(piece);
                rest = behind;
            }
            prop_assert_eq!(whole.unfinished(), cut.unfinished());
        }
    }
}
