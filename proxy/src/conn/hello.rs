//! Reading a connection's ClientHello, before rustls sees any of it.

use std::{fmt, future::poll_fn, io};

use portcullis_abi::{Progress, Reassembler};

use crate::rt::{self, Buffer};

/// Room for a receive: most hellos, post-quantum key share included, fit in one.
const RECEIVE_BYTES: usize = 4096;

/// A hello that was read.
#[derive(Default)]
pub(crate) struct ReceivedHello {
    /// All bytes received so far, for rustls to read again.
    pub(super) bytes: Buffer,
    /// The SNI, in canonical form.
    pub(super) server_name: Option<Box<str>>,
}

impl fmt::Debug for ReceivedHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedHello").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

/// What a connection begins with.
pub(super) enum Hello {
    /// A whole ClientHello, and its SNI.
    Complete(Option<Box<str>>),
    /// An HTTP request in the clear.
    PlainHttp,
    /// Neither: rustls chooses the alert for it.
    Malformed,
}

/// Receives until there is a whole ClientHello, or bytes that cannot begin one. Everything that was
/// received stays in `received`.
pub(super) async fn read(stream: &mut rt::Stream, received: &mut Buffer) -> io::Result<Hello> {
    let mut reassembler = Reassembler::default();
    loop {
        match reassembler.advance(received.filled()) {
            Progress::Complete { name, .. } => {
                return Ok(Hello::Complete(name.map(|name| name.as_str().into())));
            }
            Progress::NotTls { plain_http: true } => return Ok(Hello::PlainHttp),
            Progress::NotTls { plain_http: false } | Progress::Invalid(_) => {
                return Ok(Hello::Malformed);
            }
            Progress::NeedMore { at_least } => {
                let missing = at_least.saturating_sub(received.len());
                let room = missing.max(RECEIVE_BYTES);
                if poll_fn(|cx| stream.poll_recv(cx, received, room)).await? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
        }
    }
}
