//! The bodies that pass between a client and an upstream.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame};

/// A client's body, counted and with its trailers cleaned on the way.
pub type ClientBody = Pin<Box<dyn Body<Data = Bytes, Error = hyper::Error>>>;

/// A request body on its way to an upstream.
pub enum RequestBody {
    /// None.
    Empty,
    /// The client's, streamed.
    Client(ClientBody),
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RequestBody::Empty => "Empty",
            RequestBody::Client(_) => "Client(..)",
        })
    }
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
