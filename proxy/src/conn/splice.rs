//! Two connections that have left HTTP, joined.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, Write};

use crate::tls::Transport;

/// Moved at a time in one direction.
const CHUNK_BYTES: usize = 16 * 1024;

/// How many bytes went each way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spliced {
    /// From the client.
    pub up_bytes: u64,
    /// To the client.
    pub down_bytes: u64,
}

/// One side of a joined pair, with bytes of it that were read before.
pub struct Side {
    /// The connection.
    pub transport: Transport,
    /// Its bytes that come first.
    pub received: Bytes,
}

/// Passes bytes on in both directions until both sides have ended, or one fails. An end on one side
/// is passed on and leaves the other direction open.
pub async fn splice(client: &mut Side, upstream: &mut Side) -> (Spliced, io::Result<()>) {
    let mut up = Direction::new(std::mem::take(&mut client.received));
    let mut down = Direction::new(std::mem::take(&mut upstream.received));
    let ended = poll_fn(|cx| {
        let up_ended = up.poll(cx, &mut client.transport, &mut upstream.transport)?;
        let down_ended = down.poll(cx, &mut upstream.transport, &mut client.transport)?;
        match (up_ended, down_ended) {
            (Poll::Ready(()), Poll::Ready(())) => Poll::Ready(Ok(())),
            _ => Poll::Pending,
        }
    })
    .await;
    (Spliced { up_bytes: up.moved, down_bytes: down.moved }, ended)
}

struct Direction {
    pending: Bytes,
    chunk: Vec<u8>,
    from: usize,
    to: usize,
    moved: u64,
    ended: bool,
    shut: bool,
}

impl Direction {
    fn new(pending: Bytes) -> Direction {
        Direction {
            pending,
            chunk: Vec::new(),
            from: 0,
            to: 0,
            moved: 0,
            ended: false,
            shut: false,
        }
    }

    /// Ready once the reader's end has been passed on to the writer.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Transport,
        writer: &mut Transport,
    ) -> io::Result<Poll<()>> {
        match self.poll_inner(cx, reader, writer) {
            Poll::Ready(result) => result.map(Poll::Ready),
            Poll::Pending => Ok(Poll::Pending),
        }
    }

    fn poll_inner(
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
            } else if self.from < self.to {
                let rest = &self.chunk[self.from..self.to];
                let n = ready!(Pin::new(&mut *writer).poll_write(cx, rest))?;
                self.from += n;
                self.moved += n as u64;
            } else if self.ended {
                ready!(Pin::new(&mut *writer).poll_shutdown(cx))?;
                self.shut = true;
            } else if self.poll_fill(cx, reader)?.is_pending() {
                // What was written must not wait for more.
                ready!(Pin::new(&mut *writer).poll_flush(cx))?;
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>, reader: &mut Transport) -> io::Result<Poll<()>> {
        self.chunk.resize(CHUNK_BYTES, 0);
        let mut buffer = ReadBuf::new(&mut self.chunk);
        match Pin::new(reader).poll_read(cx, buffer.unfilled()) {
            Poll::Pending => return Ok(Poll::Pending),
            // Cut off: for bytes without a length of their own that is an end like any other.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Poll::Ready(result) => result?,
        }
        (self.from, self.to) = (0, buffer.filled().len());
        self.ended = self.to == 0;
        Ok(Poll::Ready(()))
    }
}
