//! A body as hyper receives it, whose end can be trusted.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use ::http::Version;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A body as hyper receives it.
///
/// In HTTP/2, hyper takes RST_STREAM and GOAWAY with NO_ERROR for the end of a body. They are the end of
/// a message only behind END_STREAM (RFC 9113 sections 8.1 and 8.1.1): h2 knows whether that came.
#[derive(Debug)]
pub(crate) struct ReceivedBody {
    incoming: Incoming,
    is_http2: bool,
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveBodyError {
    /// The connection or the stream failed.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// The sender left the stream without an error before it ended the message.
    #[error("the stream was reset with NO_ERROR before the end of the message")]
    NoEnd,
}

impl ReceivedBody {
    /// The body of a message of this version.
    pub(crate) fn new(incoming: Incoming, version: Version) -> ReceivedBody {
        ReceivedBody { incoming, is_http2: version == Version::HTTP_2 }
    }

    /// Whether it came over a stream of HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Whether as many bytes came as the message's head had announced.
    fn has_whole_length(&self) -> bool {
        self.incoming.size_hint().exact() == Some(0)
    }

    /// What the end of an HTTP/2 stream is for the message.
    fn end_of_stream(
        &self,
        failure: Option<hyper::Error>,
    ) -> Option<Result<Frame<Bytes>, ReceiveBodyError>> {
        match failure {
            _ if self.has_whole_length() => None,
            Some(error) => Some(Err(error.into())),
            None if self.incoming.is_end_stream() => None,
            None => Some(Err(ReceiveBodyError::NoEnd)),
        }
    }
}

impl Body for ReceivedBody {
    type Data = Bytes;
    type Error = ReceiveBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ReceiveBodyError>>> {
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        Poll::Ready(match frame {
            Some(Ok(frame)) => Some(Ok(frame)),
            end if self.is_http2 => self.end_of_stream(end.and_then(Result::err)),
            end => end.map(|end| end.map_err(ReceiveBodyError::from)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
