//! The limits on a request's time, by name.

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// For the request to arrive from the client.
    Request,
    /// For the response, from the end of the request; or for the upstream to read the request.
    Response,
    /// For the whole stream.
    Stream,
    /// Without a byte in either direction.
    Idle,
    /// For the client to read a response.
    Unread,
}
