//! The body of a request that is answered without it.

use std::{future::poll_fn, pin::Pin, rc::Rc, time::Duration};

use http::{Version, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;

use super::connection::{ClientConnection, OpenBody};
use crate::{rt, short_body, upstream::ReceivedBody};

/// The longest body that is received only so that its HTTP/1 connection can go on.
const DISCARD_BYTES: u64 = 64 * 1024;
/// How long the rest of it may take.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request body that nothing has read.
#[derive(Debug)]
pub(super) struct UnreadBody {
    incoming: Incoming,
    after: AfterAnswer,
}

/// What becomes of the body's connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AfterAnswer {
    /// In HTTP/2, the stream is reset.
    Reset,
    /// The body is received and dropped, and the next request can follow.
    Discard,
    /// The connection closes: the body is long, or may never come.
    Close,
}

impl UnreadBody {
    /// The body of a request; `None` for an empty one.
    pub(super) fn new(parts: &Parts, incoming: Incoming) -> Option<UnreadBody> {
        if incoming.is_end_stream() {
            return None;
        }
        let is_short = incoming.size_hint().exact().is_some_and(|bytes| bytes <= DISCARD_BYTES);
        let after = if parts.version >= Version::HTTP_2 {
            AfterAnswer::Reset
        } else if is_short && !parts.headers.contains_key(header::EXPECT) {
            AfterAnswer::Discard
        } else {
            AfterAnswer::Close
        };
        Some(UnreadBody { incoming, after })
    }

    /// The body, to be read.
    pub(super) fn into_incoming(self) -> Incoming {
        self.incoming
    }

    /// Reads the body to its end; `None` if it is longer than that, does not come in time or is cut off.
    /// The rest of such a body is given up: behind an answer, an HTTP/1 connection closes.
    pub(super) async fn read(
        self,
        conn: &Rc<ClientConnection>,
        max_bytes: usize,
        limit: Duration,
    ) -> Option<Vec<u8>> {
        let UnreadBody { mut incoming, after } = self;
        let mut open = OpenBody::new(conn);
        let read = rt::timeout(limit, short_body::read(&mut incoming, max_bytes)).await;
        if let Ok(Ok(bytes)) = read {
            open.complete();
            return Some(bytes);
        }
        if after == AfterAnswer::Reset {
            open.give_up(ReceivedBody::new(incoming, Version::HTTP_2));
        }
        None
    }

    /// Gives the body up, for an answer that is about to be sent. Whether the connection closes behind
    /// the answer.
    pub(super) fn give_up(self, conn: &Rc<ClientConnection>) -> bool {
        match self.after {
            AfterAnswer::Reset => {
                let body = ReceivedBody::new(self.incoming, Version::HTTP_2);
                OpenBody::new(conn).give_up(body);
                false
            }
            AfterAnswer::Discard => {
                rt::spawn(discard(self.incoming, OpenBody::new(conn)));
                false
            }
            AfterAnswer::Close => {
                conn.state.leave_body_unread();
                true
            }
        }
    }
}

/// Receives a body and drops it. If that takes too long, the connection closes.
async fn discard(mut body: Incoming, mut open: OpenBody) {
    let discarding = async {
        loop {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                None => return open.complete(),
                Some(Ok(_)) if body.is_end_stream() => return open.complete(),
                Some(Ok(_)) => {}
                Some(Err(_)) => return,
            }
        }
    };
    let _ = rt::timeout(DISCARD_TIMEOUT, discarding).await;
}
