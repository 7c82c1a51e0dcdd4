//! Two connections that have left HTTP, and the bytes between them. Neither direction can keep the
//! worker: reads and writes of a task have an allowance (`rt/coop.rs`).

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, Write};

use crate::tls::Transport;

/// Maximum number of bytes moved at a time in one direction.
const CHUNK_BYTES: usize = 16 * 1024;

thread_local! {
    /// Read into first, so that a tunnel holds no buffer while it is idle.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into());
}

/// One side of a joint.
pub(super) struct Side {
    /// The connection.
    pub(super) transport: Transport,
    /// Bytes that were already read from it; they precede any that are read.
    pub(super) received: Bytes,
}

/// A client's connection joined with an upstream's.
pub(super) struct Joint {
    client: Transport,
    upstream: Transport,
    up: Direction,
    down: Direction,
    /// Which direction moves bytes first in the next poll.
    down_first: bool,
    activity: Rc<Cell<Instant>>,
}

impl Joint {
    pub(super) fn new(client: Side, upstream: Side) -> Joint {
        Joint {
            up: Direction::new(client.received),
            down: Direction::new(upstream.received),
            client: client.transport,
            upstream: upstream.transport,
            down_first: false,
            activity: Rc::new(Cell::new(Instant::now())),
        }
    }

    /// When bytes last moved.
    pub(super) fn activity(&self) -> Rc<Cell<Instant>> {
        Rc::clone(&self.activity)
    }

    /// Bytes passed on from the client.
    pub(super) fn up_bytes(&self) -> u64 {
        self.up.moved
    }

    /// Bytes passed on to the client.
    pub(super) fn down_bytes(&self) -> u64 {
        self.down.moved
    }

    /// Copies bytes until both sides have ended or one fails. The end of one side is passed on and
    /// leaves the other direction open. Cancel-safe.
    pub(super) async fn run(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll(cx)).await
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let before = self.up.moved + self.down.moved;
        let (up, down) = self.poll_directions(cx)?;
        if self.up.moved + self.down.moved != before {
            self.activity.set(Instant::now());
        }
        ready!(up);
        ready!(down);
        Poll::Ready(Ok(()))
    }

    /// In turn: the directions share the task's allowance, and one that always has bytes would leave
    /// nothing of it to the other.
    fn poll_directions(&mut self, cx: &mut Context<'_>) -> io::Result<(Poll<()>, Poll<()>)> {
        self.down_first = !self.down_first;
        let Joint { client, upstream, up, down, .. } = self;
        if self.down_first {
            let down = down.poll(cx, upstream, client)?;
            Ok((up.poll(cx, client, upstream)?, down))
        } else {
            let up = up.poll(cx, client, upstream)?;
            Ok((up, down.poll(cx, upstream, client)?))
        }
    }

    /// Both connections, the client's first.
    pub(super) fn into_transports(self) -> (Transport, Transport) {
        (self.client, self.upstream)
    }
}

struct Direction {
    /// Bytes that precede any that are read.
    pending: Bytes,
    moved: u64,
    /// The reader has ended.
    ended: bool,
    /// The writer has been told.
    shut: bool,
}

impl Direction {
    fn new(pending: Bytes) -> Direction {
        Direction { pending, moved: 0, ended: false, shut: false }
    }

    /// Ready once the reader's end has been passed on to the writer.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Transport,
        writer: &mut Transport,
    ) -> Result<Poll<()>, io::Error> {
        match self.poll_pass(cx, reader, writer) {
            Poll::Ready(result) => result.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_pass(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Transport,
        writer: &mut Transport,
    ) -> Poll<io::Result<()>> {
        while !self.shut {
            if !self.pending.is_empty() {
                let n = ready!(Pin::new(&mut *writer).poll_write(cx, &self.pending))?;
                self.pending.advance(n);
                self.moved += n as u64;
            } else if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.shut = true;
            } else if self.poll_move(cx, reader, writer)?.is_pending() {
                // Written bytes must not wait for more to come.
                ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads a chunk, and keeps what the writer does not take of it. Pending if there is nothing to
    /// read.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Transport,
        writer: &mut Transport,
    ) -> io::Result<Poll<()>> {
        CHUNK.with_borrow_mut(|chunk| {
            let mut buffer = ReadBuf::new(chunk);
            match Pin::new(reader).poll_read(cx, buffer.unfilled()) {
                Poll::Pending => return Ok(Poll::Pending),
                // The peer sent no close_notify: many peers close a tunnel this way, and its protocol
                // marks its own end.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(result) => result?,
            }
            let mut rest = buffer.filled();
            self.ended = rest.is_empty();
            while !rest.is_empty()
                && let Poll::Ready(n) = Pin::new(&mut *writer).poll_write(cx, rest)?
            {
                rest = &rest[n..];
                self.moved += n as u64;
            }
            self.pending = Bytes::copy_from_slice(rest);
            Ok(Poll::Ready(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        os::unix::net::UnixStream,
    };

    use super::*;
    use crate::rt::{Runtime, Stream, yield_now};

    /// More than a task may receive in a poll.
    const BUFFER_BYTES: usize = 400 * 1024;

    fn side() -> (Side, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&theirs, BUFFER_BYTES).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let transport = Transport::Plain(Box::new(Stream::new(ours.into())));
        (Side { transport, received: Bytes::new() }, theirs)
    }

    /// Sends until the socket is full, and takes what has come.
    fn keep_full(mut peer: &UnixStream) {
        let chunk = [7; 4096];
        while peer.write(&chunk).is_ok() {}
        let mut taken = [0; 64 * 1024];
        while peer.read(&mut taken).is_ok_and(|n| n > 0) {}
    }

    #[test]
    fn a_direction_at_full_speed_leaves_the_other_its_turn() {
        Runtime::new().unwrap().block_on(async {
            let ((client, client_peer), (upstream, upstream_peer)) = (side(), side());
            let mut joint = Joint::new(client, upstream);
            for _ in 0..8 {
                keep_full(&client_peer);
                keep_full(&upstream_peer);
                poll_fn(|cx| Poll::Ready(joint.poll(cx).is_pending())).await;
                yield_now().await;
            }
            let (up, down) = (joint.up_bytes(), joint.down_bytes());
            assert!(up / 4 < down && down / 4 < up, "{up} bytes up, {down} down");
        });
    }
}
