//! The end of a connection: everything said reaches the peer.

use std::{future::poll_fn, io, pin::Pin, task::ready, time::Duration};

use hyper::rt::Write;

use crate::{
    rt::{self, Buffer},
    tls::Transport,
};

/// How long the peer may take what we say last, and say what it has left.
const LINGER: Duration = Duration::from_secs(1);
/// How much it may say.
const LINGER_BYTES: usize = 64 * 1024;
/// Read at a time.
const CHUNK_BYTES: usize = 16 * 1024;

/// Closes a connection in order: close_notify, FIN, and then what the peer still sends is read and
/// dropped, since unread bytes would turn our FIN into a reset that destroys the last reply.
pub(super) async fn close(mut transport: Transport) {
    let _ = rt::timeout(LINGER, async {
        poll_fn(|cx| Pin::new(&mut transport).poll_shutdown(cx)).await?;
        drain(transport.stream_mut()).await
    })
    .await;
}

/// Closes a connection whose handshake failed; its alert is in the stream's outgoing buffer.
pub(super) async fn close_raw(mut stream: rt::Stream) {
    let _ = rt::timeout(LINGER, async {
        poll_fn(|cx| {
            ready!(stream.poll_flush(cx))?;
            stream.poll_sent(cx)
        })
        .await?;
        stream.shutdown_write();
        drain(&mut stream).await
    })
    .await;
}

async fn drain(stream: &mut rt::Stream) -> io::Result<()> {
    let mut drained = 0;
    while drained < LINGER_BYTES {
        let mut buffer = Buffer::default();
        match poll_fn(|cx| stream.poll_recv(cx, &mut buffer, CHUNK_BYTES)).await? {
            0 => break,
            n => drained += n,
        }
    }
    Ok(())
}
