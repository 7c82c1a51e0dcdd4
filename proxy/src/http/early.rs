//! Answers to clients whose request hyper has not parsed: complete, as they go on the wire.

/// The answer to a plain HTTP request on a TLS port.
pub(crate) const PLAIN_HTTP_ON_TLS_PORT: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 50\r\n\
    Connection: close\r\n\r\n\
    this port speaks HTTPS: an HTTP request came here\n";

/// The answer to a request whose head did not arrive in time.
pub(crate) const REQUEST_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    Content-Length: 26\r\n\
    Connection: close\r\n\r\n\
    the request took too long\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_told_is_the_length_of_the_body() {
        for reply in [PLAIN_HTTP_ON_TLS_PORT, REQUEST_TIMEOUT] {
            let text = std::str::from_utf8(reply).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{text}");
        }
    }
}
