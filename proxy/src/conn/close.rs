//! Closes a connection: either all bytes reach the peer, or the peer sees that some are missing.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Poll, ready},
    time::Duration,
};

use hyper::rt::Write;

use crate::{
    rt::{self, CloseMode},
    tls::Transport,
};

/// How long the write of close_notify, and of the bytes before it, may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Closes an idle connection that makes room for another: its descriptor is free as soon as the end
/// has been sent.
pub(super) async fn close_without_linger(mut transport: Transport) {
    let shutdown = poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx));
    let _ = rt::timeout(FAREWELL, shutdown).await;
}

/// Closes a connection, TLS included: with a reset there is no close_notify either. A peer that does
/// not read our last bytes in time is reset.
pub(super) async fn close(transport: Transport, mode: CloseMode) {
    match mode {
        CloseMode::Reset => transport.into_stream().close(mode).await,
        mode => close_after(transport, &[], mode).await,
    }
}

/// Closes a connection, but not with a reset, with these bytes behind those that were sent.
pub(super) async fn close_after(mut transport: Transport, mut last: &[u8], mode: CloseMode) {
    let farewell = poll_fn(|cx| {
        let mut transport = Pin::new(&mut transport);
        while !last.is_empty() {
            let written = ready!(transport.as_mut().poll_write(cx, last))?;
            last = &last[written..];
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        transport.poll_shutdown(cx)
    });
    if matches!(rt::timeout(FAREWELL, farewell).await, Ok(Ok(()))) {
        transport.into_stream().close(mode).await;
    }
}
