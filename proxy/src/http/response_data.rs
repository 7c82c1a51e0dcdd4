//! Pieces of a response, of which it is known when they have been sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use tokio::time::Instant;

use crate::http2_frames::ClientWindows;

/// A piece of a response, as hyper and h2 hold it until it is sent or given up.
#[derive(Debug)]
pub(crate) struct ResponseData {
    bytes: Bytes,
    delivery: Delivery,
}

/// How it is known that a piece is sent.
#[derive(Debug)]
enum Delivery {
    /// By the socket: in HTTP/1.
    Socket,
    /// The client's windows have room for it, so it is sent when the socket takes it.
    Certain(Rc<ClientWindows>),
    /// It may wait for the client's windows.
    Waiting(Rc<UnsentData>),
}

/// The pieces of one response that may wait in h2 for the client's windows.
#[derive(Debug)]
pub(crate) struct UnsentData {
    windows: Rc<ClientWindows>,
    pieces: Cell<usize>,
    sent_at: Cell<Option<Instant>>,
    response: RefCell<Option<Waker>>,
}

impl ResponseData {
    /// A piece for which the client's windows have room.
    pub(super) fn certain(bytes: Bytes, windows: &Rc<ClientWindows>) -> ResponseData {
        ResponseData { bytes, delivery: Delivery::Certain(Rc::clone(windows)) }
    }

    /// A piece that h2 can only send if the client opens its windows.
    pub(crate) fn waiting(bytes: Bytes, unsent: &Rc<UnsentData>) -> ResponseData {
        unsent.pieces.set(unsent.pieces.get() + 1);
        ResponseData { bytes, delivery: Delivery::Waiting(Rc::clone(unsent)) }
    }
}

impl From<Bytes> for ResponseData {
    fn from(bytes: Bytes) -> ResponseData {
        ResponseData { bytes, delivery: Delivery::Socket }
    }
}

impl UnsentData {
    /// Nothing yet.
    pub(crate) fn new(windows: &Rc<ClientWindows>) -> Rc<UnsentData> {
        Rc::new(UnsentData {
            windows: Rc::clone(windows),
            pieces: Cell::new(0),
            sent_at: Cell::new(None),
            response: RefCell::default(),
        })
    }

    /// When h2 last sent some of it.
    pub(crate) fn sent_at(&self) -> Option<Instant> {
        self.sent_at.get()
    }

    /// Whether h2 has sent all pieces, or given them up.
    pub(super) fn is_gone(&self) -> bool {
        self.pieces.get() == 0
    }

    /// Ready once all pieces are gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        self.response.replace(Some(cx.waker().clone()));
        Poll::Pending
    }

    fn drop_piece(&self) {
        self.pieces.set(self.pieces.get().saturating_sub(1));
        if self.is_gone()
            && let Some(response) = self.response.take()
        {
            response.wake();
        }
    }
}

impl Buf for ResponseData {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        match &self.delivery {
            Delivery::Socket => {}
            Delivery::Certain(windows) => windows.sent(count),
            Delivery::Waiting(unsent) => unsent.sent_at.set(Some(Instant::now())),
        }
    }
}

impl Drop for ResponseData {
    fn drop(&mut self) {
        match &self.delivery {
            Delivery::Socket => {}
            Delivery::Certain(windows) => {
                windows.sent(self.bytes.len());
                windows.take_back(self.bytes.len());
            }
            Delivery::Waiting(unsent) => {
                unsent.windows.take_back(self.bytes.len());
                unsent.drop_piece();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_gone_when_its_holder_drops_it() {
        let windows = Rc::new(ClientWindows::default());
        let unsent = UnsentData::new(&windows);
        let mut data = ResponseData::waiting(Bytes::from_static(b"abc"), &unsent);
        let next = ResponseData::waiting(Bytes::from_static(b"d"), &unsent);
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(unsent.sent_at(), None);
        data.advance(3);
        assert!(unsent.sent_at().is_some());
        assert_eq!(unsent.poll_gone(&mut cx), Poll::Pending, "the last byte is not written yet");
        drop(data);
        assert_eq!(unsent.poll_gone(&mut cx), Poll::Pending, "another one waits");
        drop(next);
        assert_eq!(unsent.poll_gone(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn what_was_not_sent_does_not_count_as_given() {
        let windows = Rc::new(ClientWindows::default());
        for is_certain in [false, true] {
            let bytes = Bytes::from(vec![0; 65_535 - usize::from(is_certain) * 65_530]);
            assert!(windows.give(bytes.len(), 0));
            let mut data = match is_certain {
                true => ResponseData::certain(bytes, &windows),
                false => ResponseData::waiting(bytes, &UnsentData::new(&windows)),
            };
            let sent = data.remaining() - 5;
            data.advance(sent);
            drop(data);
        }
        assert!(windows.give(5, 0));
        assert!(!windows.give(1, 0));
    }
}
