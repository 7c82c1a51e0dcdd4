//! Closes a connection: either all bytes reach the peer, or the peer sees that some are missing.

use std::{future::poll_fn, pin::Pin, time::Duration};

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
pub(super) async fn close(mut transport: Transport, mode: CloseMode) {
    if mode == CloseMode::Orderly {
        let shutdown = poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx));
        if !matches!(rt::timeout(FAREWELL, shutdown).await, Ok(Ok(()))) {
            return;
        }
    }
    transport.into_stream().close(mode).await;
}
