//! The settings of this room.

use std::time::Duration;

use crate::tls::Codec;

/// Deadlines and limits of client connections.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionSettings {
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the first byte of a request's head to its last. In HTTP/2 only while no other request is
    /// under way, and also from the handshake to the end of the client's preface.
    pub header_timeout: Duration,
    /// How long a connection may have no request; `None` is no limit.
    pub idle_timeout: Option<Duration>,
    /// From the order to drain to the end of the last connection.
    pub drain_timeout: Duration,
    /// The most open connections of all workers together.
    pub max_connections: usize,
    /// The most open connections of one worker.
    pub max_connections_per_worker: usize,
    /// The most bytes in a request's head, and in its trailers: in HTTP/1 from the first of the
    /// request line to the last of the empty line, in HTTP/2 as RFC 9113 section 6.5.2 counts a
    /// header list (names, values and 32 for each field), which must stay below it.
    pub max_header_bytes: usize,
    /// The most header fields in a request (more than 100 costs an allocation a request).
    pub max_headers: usize,
    /// The HTTP versions of connections without TLS. With TLS, the handshake negotiates them.
    pub codec: Codec,
    /// HTTP/2 streams a client may have open.
    pub h2_max_concurrent_streams: u32,
    /// HTTP/2 flow-control window of a stream, in bytes.
    pub h2_stream_window_bytes: u32,
    /// HTTP/2 flow-control window of a connection, in bytes.
    pub h2_connection_window_bytes: u32,
}

impl ConnectionSettings {
    /// The same, with at most so many open connections.
    pub(crate) fn with_at_most(&self, most: usize) -> ConnectionSettings {
        ConnectionSettings {
            max_connections: self.max_connections.min(most),
            max_connections_per_worker: self.max_connections_per_worker.min(most),
            ..self.clone()
        }
    }
}
