use std::{collections::VecDeque, future::poll_fn, task::Waker};

use super::*;

/// A connection that the peer has reset behind these bytes. As in Linux, the first write that fails
/// takes the error, and the reader finds an end without one.
struct Reset(VecDeque<u8>);

impl Read for Reset {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let count = buf.remaining().min(self.0.len());
        buf.put_slice(&self.0.drain(..count).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl ObservedRead for Reset {
    fn poll_read_observed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        observe(&self.0.clone().make_contiguous()[..buf.remaining().min(self.0.len())]);
        self.poll_read(cx, buf)
    }
}

/// How many more bytes may come.
struct Left(Cell<usize>);

impl ReceiveLimit for Left {
    fn check(&self) -> io::Result<()> {
        if self.0.get() == 0 { Err(io::ErrorKind::Other.into()) } else { Ok(()) }
    }
    fn received(&self, bytes: &[u8]) {
        self.0.set(self.0.get().saturating_sub(bytes.len()));
    }
}

impl Write for Reset {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        _buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

type Io = AnswerIo<Reset, Left>;

fn reset_behind(bytes: &[u8]) -> Io {
    limited(bytes, usize::MAX)
}

fn limited(bytes: &[u8], left: usize) -> Io {
    AnswerIo::new(Reset(bytes.iter().copied().collect()), &Rc::new(Left(Cell::new(left))))
}

fn read(io: &mut Io) -> io::Result<Vec<u8>> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut buffer = [0; 4];
    let mut read = ReadBuf::new(&mut buffer);
    match Pin::new(io).poll_read(&mut cx, read.unfilled()) {
        Poll::Ready(done) => done.map(|()| read.filled().to_vec()),
        Poll::Pending => panic!("a reset connection waits for nothing"),
    }
}

#[test]
fn behind_a_failed_write_the_answer_is_read_and_then_the_failure() {
    let mut io = reset_behind(b"answer");
    let failure = io.failure();
    let mut cx = Context::from_waker(Waker::noop());
    let written = Pin::new(&mut io).poll_write(&mut cx, b"body");
    assert!(matches!(written, Poll::Ready(Ok(4))), "{written:?}");
    assert!(failure.has_happened());
    assert_eq!(read(&mut io).unwrap(), b"answ");
    assert_eq!(read(&mut io).unwrap(), b"er");
    assert_eq!(read(&mut io).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_failed_flush_counts_as_a_failed_write() {
    let mut io = reset_behind(b"");
    let mut cx = Context::from_waker(Waker::noop());
    let flushed = poll_fn(|cx| Pin::new(&mut io).poll_flush(cx));
    let flushed = std::pin::pin!(flushed).as_mut().poll(&mut cx);
    assert!(matches!(flushed, Poll::Ready(Ok(()))));
    assert_eq!(read(&mut io).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn the_limit_holds_before_and_behind_a_failed_write() {
    for fails in [false, true] {
        let mut io = limited(b"a long answer", 5);
        if fails {
            let _ = Pin::new(&mut io).poll_write(&mut Context::from_waker(Waker::noop()), b"x");
        }
        assert_eq!(read(&mut io).unwrap(), b"a lo", "{fails}");
        assert_eq!(read(&mut io).unwrap(), b"ng a", "{fails}");
        assert_eq!(read(&mut io).unwrap_err().kind(), io::ErrorKind::Other, "{fails}");
    }
}

#[test]
fn without_a_failed_write_an_end_is_an_end() {
    let mut io = reset_behind(b"x");
    assert!(!io.failure().has_happened());
    assert_eq!(read(&mut io).unwrap(), b"x");
    assert_eq!(read(&mut io).unwrap(), b"");
}
