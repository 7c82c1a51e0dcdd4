//! The bodies that pass between a client and an upstream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

/// A request body on its way to an upstream.
#[derive(Debug)]
pub enum RequestBody {
    /// None.
    Empty,
    /// The client's, streamed.
    Client(Incoming),
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        unimplemented!()
    }
}

/// A response body on its way from an upstream. It holds the connection it comes over; the
/// connection goes back to the pool when the body has been read to its end, and is closed when the
/// body is dropped before.
#[derive(Debug)]
pub struct ResponseBody {}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        unimplemented!()
    }
}
