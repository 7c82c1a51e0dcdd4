//! What a client lets us send (RFC 9113 section 5.2): h2 does not tell.

use std::cell::Cell;

/// Both windows, before the client has said anything (section 6.9.2).
const FIRST_WINDOW_BYTES: u32 = 65_535;
const INITIAL_WINDOW_SIZE: u16 = 4;
/// The bits of an increment (section 6.9).
const INCREMENT: u32 = u32::MAX >> 1;

/// The windows of a client, as far as they are certain: updates of one stream's window are not counted.
#[derive(Debug)]
pub(crate) struct ClientWindows {
    /// The window with which each stream begins. A change holds for open streams too.
    stream: Cell<u32>,
    /// How many bytes of DATA all streams may carry together, from the beginning of the connection.
    connection: Cell<u64>,
    /// How many bytes of DATA h2 was given, without those that it gave up.
    given: Cell<u64>,
    /// How many bytes h2 has not sent of pieces that it could send when it was given them.
    certain: Cell<u64>,
    /// The client lowered the window of each stream meanwhile, so that they may wait for it after all.
    is_lowered: Cell<bool>,
}

impl Default for ClientWindows {
    fn default() -> ClientWindows {
        ClientWindows {
            stream: Cell::new(FIRST_WINDOW_BYTES),
            connection: Cell::new(FIRST_WINDOW_BYTES.into()),
            given: Cell::new(0),
            certain: Cell::new(0),
            is_lowered: Cell::new(false),
        }
    }
}

impl ClientWindows {
    /// Notes that h2 was given a piece. Whether it can send the piece without a word of the client, if
    /// it is the end of so many bytes of its response.
    pub(crate) fn give(&self, piece: usize, response: u64) -> bool {
        self.given.set(self.given.get() + piece as u64);
        let is_certain = response <= self.stream.get().into()
            && self.given.get() <= self.connection.get()
            && !self.is_lowered.get();
        if is_certain {
            self.certain.set(self.certain.get() + piece as u64);
        }
        is_certain
    }

    /// Notes what h2 sent, or gave up, of pieces that it could send when it was given them.
    pub(crate) fn sent(&self, bytes: usize) {
        let left = self.certain.get().saturating_sub(bytes as u64);
        self.certain.set(left);
        if left == 0 {
            self.is_lowered.set(false);
        }
    }

    /// How many bytes of such pieces wait in h2 since before the client lowered its windows. No response
    /// has a clock for them: h2 has its end too.
    pub(crate) fn kept_back(&self) -> Option<u64> {
        self.is_lowered.get().then(|| self.certain.get())
    }

    fn set_stream(&self, bytes: u32) {
        if self.stream.replace(bytes) > bytes && self.certain.get() > 0 {
            self.is_lowered.set(true);
        }
    }

    /// Notes what h2 gave up of a piece.
    pub(crate) fn take_back(&self, bytes: usize) {
        self.given.set(self.given.get().saturating_sub(bytes as u64));
    }

    fn update(&self, increment: u32) {
        self.connection.set(self.connection.get().saturating_add((increment & INCREMENT).into()));
    }
}

/// Reads the payloads of SETTINGS, and of WINDOW_UPDATE for the connection, in whatever pieces they come.
#[derive(Debug, Default)]
pub(super) struct WindowReader {
    kind: Option<WindowFrame>,
    /// The part of a setting, or of an increment, that has come.
    partial: Vec<u8>,
}

/// A frame with a payload about windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowFrame {
    /// SETTINGS.
    Settings,
    /// WINDOW_UPDATE for the connection.
    Update,
}

impl WindowReader {
    /// A frame begins.
    pub(super) fn begin(&mut self, kind: Option<WindowFrame>) {
        self.kind = kind;
        self.partial.clear();
    }

    /// The next bytes of its payload.
    pub(super) fn read(&mut self, payload: &[u8], windows: &ClientWindows) {
        let Some(kind) = self.kind else { return };
        for byte in payload {
            self.partial.push(*byte);
            match (kind, &*self.partial) {
                (WindowFrame::Settings, &[high, low, ref value @ ..]) => {
                    let Ok(value) = <[u8; 4]>::try_from(value) else { continue };
                    if u16::from_be_bytes([high, low]) == INITIAL_WINDOW_SIZE {
                        windows.set_stream(u32::from_be_bytes(value));
                    }
                }
                (WindowFrame::Update, increment) => {
                    let Ok(increment) = <[u8; 4]>::try_from(increment) else { continue };
                    windows.update(u32::from_be_bytes(increment));
                }
                _ => continue,
            }
            self.partial.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: WindowFrame, payload: &[u8], piece: usize) -> ClientWindows {
        let (windows, mut reader) = (ClientWindows::default(), WindowReader::default());
        reader.begin(Some(kind));
        payload.chunks(piece).for_each(|payload| reader.read(payload, &windows));
        windows
    }

    #[test]
    fn a_response_fits_within_the_first_windows() {
        assert!(ClientWindows::default().give(65_535, 65_535));
        assert!(!ClientWindows::default().give(1, 65_536), "its stream's window is full");
        let windows = ClientWindows::default();
        assert!(windows.give(65_535, 65_535));
        assert!(!windows.give(1, 1), "the connection's window is full");
        windows.take_back(2);
        assert!(windows.give(1, 1));
    }

    #[test]
    fn what_a_lowered_window_keeps_back_is_known_until_it_is_sent() {
        let windows = ClientWindows::default();
        windows.set_stream(1000);
        assert_eq!(windows.kept_back(), None, "nothing was to be sent");
        assert!(windows.give(800, 800) && windows.give(1000, 1000));
        windows.sent(700);
        assert_eq!(windows.kept_back(), None);
        windows.set_stream(2000);
        assert_eq!(windows.kept_back(), None);
        windows.set_stream(10);
        assert_eq!(windows.kept_back(), Some(1100));
        assert!(!windows.give(5, 5), "its response has a clock");
        windows.sent(1000);
        assert_eq!(windows.kept_back(), Some(100));
        windows.sent(100);
        assert_eq!(windows.kept_back(), None);
        assert!(windows.give(5, 5));
    }

    #[test]
    fn settings_and_updates_count_however_they_are_cut() {
        let settings = b"\0\x03\0\0\0\x64\0\x04\0\x01\0\0\0\x05\0\0\x40\0";
        let updates = b"\0\0\0\x01\x80\0\0\x02";
        for piece in 1..20 {
            let windows = read(WindowFrame::Settings, settings, piece);
            assert_eq!((windows.stream.get(), windows.connection.get()), (65_536, 65_535));
            let windows = read(WindowFrame::Update, updates, piece);
            assert_eq!((windows.stream.get(), windows.connection.get()), (65_535, 65_538));
        }
    }
}
