//! One GET of `/status`, on a plain socket.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use crate::observe::StatusView;

const TIMEOUT: Duration = Duration::from_secs(5);

/// More than any status: some bytes for each of a hundred thousand routes.
const MAX_RESPONSE_BYTES: u64 = 32 * 1024 * 1024;

/// Why the state of a running proxy cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nobody is there.
    #[error("cannot connect to {0}: {1}; is portcullis running, and is this its admin_address?")]
    Connect(SocketAddr, #[source] io::Error),
    /// The answer did not arrive.
    #[error("no answer from {0}: {1}")]
    Io(SocketAddr, #[source] io::Error),
    /// Somebody else is there.
    #[error("{0} does not answer as portcullis does: {1}")]
    Answer(SocketAddr, String),
}

/// Asks the administrative listener at this address for its state. Waits some seconds at most for
/// each step.
pub(crate) fn fetch(address: SocketAddr) -> Result<StatusView, FetchError> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .map_err(|error| FetchError::Connect(address, error))?;
    let response = ask(&mut stream, address).map_err(|error| FetchError::Io(address, error))?;
    read(&response).map_err(|reason| FetchError::Answer(address, reason))
}

fn ask(stream: &mut TcpStream, address: SocketAddr) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // HTTP/1.0 keeps the answer from being chunked, and ends it with the connection.
    write!(stream, "GET /status HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response)?;
    Ok(response)
}

fn read(response: &[u8]) -> Result<StatusView, String> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = end.and_then(|end| response.split_at_checked(end)).ok_or("not HTTP")?;
    let head = String::from_utf8_lossy(head);
    let status_line = head.lines().next().unwrap_or_default();
    match status_line.split(' ').nth(1) {
        Some("200") => serde_json::from_slice(body).map_err(|error| error.to_string()),
        _ => Err(status_line.escape_debug().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_server_is_an_error_with_its_status_line() {
        let answer = read(b"HTTP/1.0 404 Not\x1bFound\r\nA: b\r\n\r\n{}");
        assert_eq!(answer, Err("HTTP/1.0 404 Not\\u{1b}Found".into()));
        assert_eq!(read(b"SSH-2.0"), Err("not HTTP".into()));
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\n<html>").is_err());
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let json = serde_json::to_vec(&StatusView::default()).unwrap();
        let whole = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &json].concat();
        assert_eq!(read(&whole), Ok(StatusView::default()));
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err());
        }
    }

    #[test]
    fn where_nobody_listens_the_error_says_so() {
        // Bound and dropped, so that nobody else is likely to have it.
        let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = fetch(address).unwrap_err();
        assert!(matches!(error, FetchError::Connect(..)), "{error}");
    }
}
