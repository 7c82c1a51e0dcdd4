//! Pieces of a response, of which it is known when they have been sent.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};

use crate::http2_frames::ClientWindows;

/// A piece of a response, as hyper and h2 hold it until it is sent or given up.
#[derive(Debug)]
pub(crate) struct ResponseData {
    bytes: Bytes,
    unsent: Option<Rc<UnsentData>>,
}

/// A piece that waits in h2 for the client's windows.
#[derive(Debug)]
pub(super) struct UnsentData {
    windows: Rc<ClientWindows>,
    is_gone: Cell<bool>,
    response: RefCell<Option<Waker>>,
}

impl ResponseData {
    /// A piece that h2 can only send if the client opens its windows.
    pub(super) fn watched(
        bytes: Bytes,
        windows: &Rc<ClientWindows>,
    ) -> (ResponseData, Rc<UnsentData>) {
        let unsent = Rc::new(UnsentData {
            windows: Rc::clone(windows),
            is_gone: Cell::new(false),
            response: RefCell::default(),
        });
        (ResponseData { bytes, unsent: Some(Rc::clone(&unsent)) }, unsent)
    }
}

impl From<Bytes> for ResponseData {
    fn from(bytes: Bytes) -> ResponseData {
        ResponseData { bytes, unsent: None }
    }
}

impl UnsentData {
    /// Whether h2 has sent the piece, or given it up.
    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.get()
    }

    /// Ready once the piece is gone.
    pub(super) fn poll_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_gone() {
            return Poll::Ready(());
        }
        self.response.replace(Some(cx.waker().clone()));
        Poll::Pending
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
    }
}

impl Drop for ResponseData {
    fn drop(&mut self) {
        let Some(unsent) = &self.unsent else { return };
        unsent.windows.take_back(self.bytes.len());
        unsent.is_gone.set(true);
        if let Some(response) = unsent.response.take() {
            response.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watched_piece_is_gone_when_its_holder_drops_it() {
        let windows = Rc::new(ClientWindows::default());
        let (mut data, unsent) = ResponseData::watched(Bytes::from_static(b"abc"), &windows);
        let mut cx = Context::from_waker(Waker::noop());
        data.advance(3);
        assert_eq!(unsent.poll_gone(&mut cx), Poll::Pending, "the last byte is not written yet");
        drop(data);
        assert_eq!(unsent.poll_gone(&mut cx), Poll::Ready(()));
    }

    #[test]
    fn what_was_not_sent_does_not_count_as_given() {
        let windows = Rc::new(ClientWindows::default());
        let bytes = Bytes::from(vec![0; 65_535]);
        assert!(windows.give(bytes.len(), 0));
        let (mut data, _unsent) = ResponseData::watched(bytes, &windows);
        data.advance(65_530);
        drop(data);
        assert!(windows.give(5, 0));
        assert!(!windows.give(1, 0));
    }
}
