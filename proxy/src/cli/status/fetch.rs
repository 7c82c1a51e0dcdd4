//! One request to the administrative listener over a plain socket.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use portcullis_abi::HostName;
use serde::de::DeserializeOwned;

use crate::observe::{HostView, StatusView};

const TIMEOUT: Duration = Duration::from_secs(5);

/// A status has some bytes for each of a hundred thousand routes.
const MAX_RESPONSE_BYTES: u64 = 32 * 1024 * 1024;

/// How much of an error's body is shown.
const SHOWN_BYTES: usize = 200;

/// Why the state of a running proxy is unknown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nobody listens.
    #[error("cannot connect to {0}: {1}; is portcullis running, and is this its admin_address?")]
    Connect(SocketAddr, #[source] io::Error),
    /// The connection broke, or the answer took too long.
    #[error("no answer from {0}: {1}")]
    Io(SocketAddr, #[source] io::Error),
    /// The host that was asked for is not a name.
    #[error("`{0}` is not a DNS name")]
    Host(String),
    /// The answer is an error, or another program's.
    #[error("{0} gave an unexpected answer: {1}")]
    Answer(SocketAddr, String),
}

/// Fetches the state from the administrative listener. Each step takes at most [`TIMEOUT`].
pub(crate) fn fetch(address: SocketAddr) -> Result<StatusView, FetchError> {
    get(address, "/status")
}

/// Fetches which worker gets the connections for a host.
pub(crate) fn fetch_host(address: SocketAddr, host: &str) -> Result<HostView, FetchError> {
    let name = HostName::parse(host.as_bytes())
        .ok_or_else(|| FetchError::Host(host.escape_debug().to_string()))?;
    get(address, &format!("/steering?host={name}"))
}

/// Drains a worker, or puts it back in use.
pub(crate) fn order_drain(
    address: SocketAddr,
    worker: u32,
    drained: bool,
) -> Result<(), FetchError> {
    let method = if drained { "PUT" } else { "DELETE" };
    send(address, method, &format!("/workers/{worker}/drain")).map(|_| ())
}

fn get<T: DeserializeOwned>(address: SocketAddr, path: &str) -> Result<T, FetchError> {
    let body = send(address, "GET", path)?;
    serde_json::from_slice(&body).map_err(|error| FetchError::Answer(address, error.to_string()))
}

fn send(address: SocketAddr, method: &str, path: &str) -> Result<Vec<u8>, FetchError> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)
        .map_err(|error| FetchError::Connect(address, error))?;
    let response =
        ask(&mut stream, address, method, path).map_err(|error| FetchError::Io(address, error))?;
    let body = read(&response).map_err(|reason| FetchError::Answer(address, reason))?;
    Ok(body.to_vec())
}

fn ask(
    stream: &mut TcpStream,
    address: SocketAddr,
    method: &str,
    path: &str,
) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    // An HTTP/1.0 answer is not chunked, and ends with the connection.
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut response = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut response)?;
    Ok(response)
}

/// The body of a `200`. Any other answer is an error with its status line and its body.
fn read(response: &[u8]) -> Result<&[u8], String> {
    let end = response.windows(4).position(|window| window == b"\r\n\r\n");
    let (head, body) = end.and_then(|end| response.split_at_checked(end + 4)).ok_or("not HTTP")?;
    let head = String::from_utf8_lossy(head);
    let status_line = head.lines().next().unwrap_or_default();
    match status_line.split(' ').nth(1) {
        Some("200") => Ok(body),
        Some(_) if body.len() <= SHOWN_BYTES => {
            let body = String::from_utf8_lossy(body);
            let shown = format!("{status_line} {}", body.trim());
            Err(shown.trim().escape_debug().to_string())
        }
        _ => Err(status_line.escape_debug().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_server_is_an_error_with_its_status_line() {
        let answer = read(b"HTTP/1.0 404 Not\x1bFound\r\nA: b\r\n\r\ngone\n");
        assert_eq!(answer, Err("HTTP/1.0 404 Not\\u{1b}Found gone".into()));
        assert_eq!(read(b"SSH-2.0"), Err("not HTTP".into()));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error() {
        let json = serde_json::to_vec(&StatusView::default()).unwrap();
        let whole = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &json].concat();
        let parse = |bytes: &[u8]| serde_json::from_slice::<StatusView>(read(bytes).ok()?).ok();
        assert_eq!(parse(&whole), Some(StatusView::default()));
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None);
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
