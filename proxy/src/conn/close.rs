//! The end of a connection: everything said reaches the peer, or nothing looks whole to it.

use std::{future::poll_fn, pin::Pin, time::Duration};

use hyper::rt::Write;

use crate::{rt, tls::Transport};

/// How long close_notify, and what was written before it, may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// Closes a connection in order: close_notify, FIN, and then what the peer still sends.
pub(super) async fn close(mut transport: Transport) {
    let said =
        rt::timeout(FAREWELL, poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx))).await;
    if let Ok(Ok(())) = said {
        transport.into_stream().close().await;
    }
}
