//! The HTTP version of a connection without TLS, where no handshake negotiates it.

use std::{future::poll_fn, task::Poll};

use super::connection::OpenConnection;
use crate::{
    rt::{self, Buffer},
    tls::Codec,
};

/// How HTTP/2 with prior knowledge begins (RFC 9113 section 3.4). HTTP/1 has no such method.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The version that a client speaks.
#[derive(Debug, Default)]
pub(super) struct SpokenVersion {
    pub(super) is_http2: bool,
    /// What was received to find out.
    pub(super) received: Box<[u8]>,
}

/// The version by `codec_type`, or else by the client's first bytes. `None` if it sends none for as
/// long as a connection may idle, or makes room for another. A connection that ends or must drain is
/// left to HTTP/1.
pub(super) async fn spoken_version(
    connection: &OpenConnection,
    stream: &mut rt::Stream,
) -> Option<SpokenVersion> {
    let settings = &connection.settings;
    if settings.codec != Codec::Auto {
        let is_http2 = settings.codec == Codec::Http2;
        return Some(SpokenVersion { is_http2, ..SpokenVersion::default() });
    }
    let begun = poll_fn(|cx| match connection.registration.poll_draining(cx) {
        true => Poll::Ready(false),
        false => stream.poll_idle(cx).map(|result| result.is_ok()),
    });
    let has_begun = match settings.idle_timeout {
        Some(limit) => rt::timeout(limit, begun).await.ok()?,
        None => begun.await,
    };
    if !has_begun {
        return (!connection.registration.is_evicted()).then(SpokenVersion::default);
    }
    let mut received = Buffer::default();
    // If it takes longer, HTTP/1 answers it.
    let reading = rt::timeout(settings.header_timeout, is_preface(stream, &mut received));
    let is_http2 = reading.await.unwrap_or(false);
    Some(SpokenVersion { is_http2, received: received.filled().into() })
}

/// Receives until the preface is whole, or cannot become so.
async fn is_preface(stream: &mut rt::Stream, received: &mut Buffer) -> bool {
    loop {
        let room = PREFACE.len() - received.len();
        if !matches!(poll_fn(|cx| stream.poll_recv(cx, received, room)).await, Ok(1..)) {
            return false;
        }
        let is_alike = received.filled().iter().zip(PREFACE).all(|(one, other)| one == other);
        if !is_alike || received.len() >= PREFACE.len() {
            return is_alike;
        }
    }
}
