//! One request to the administrative listener.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use portcullis_abi::HostName;
use serde::de::DeserializeOwned;
use ureq::{
    Agent, Error, Timeout,
    http::{Request, StatusCode},
};

use crate::observe::{HostView, StatusView};

const TIMEOUT: Duration = Duration::from_secs(5);

/// More than any status: some bytes for each of a hundred thousand routes.
const MAX_BODY_BYTES: u64 = 32 * 1024 * 1024;

/// The longest body of an error response that is shown.
const SHOWN_BYTES: usize = 200;

/// Why the state of a running proxy is not known.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Nothing listens there.
    #[error("cannot connect to {0}: {1}; is portcullis running, and is this its admin_address?")]
    Connect(SocketAddr, #[source] Box<Error>),
    /// The response did not arrive.
    #[error("no response from {0}: {1}")]
    Io(SocketAddr, #[source] Box<Error>),
    /// No client can ask for this host.
    #[error("`{0}` is not a DNS name")]
    Host(String),
    /// It is not known where to ask, for this reason.
    #[error("{0}")]
    Address(String),
    /// Another program listens there.
    #[error("unexpected response from {0}: {1}")]
    Answer(SocketAddr, String),
}

/// Gets the state of the proxy from its administrative listener. Each step may take some seconds.
pub(crate) fn fetch(address: SocketAddr) -> Result<StatusView, FetchError> {
    get(address, "/status")
}

/// Asks whether the proxy accepts connections: an error if it does not.
pub(crate) fn fetch_readiness(address: SocketAddr) -> Result<(), FetchError> {
    send(address, "/readyz").map(drop)
}

/// Gets the worker to which connections for a host go.
pub(crate) fn fetch_host(address: SocketAddr, host: &str) -> Result<HostView, FetchError> {
    let name = HostName::parse(host.as_bytes())
        .ok_or_else(|| FetchError::Host(host.escape_debug().to_string()))?;
    get(address, &format!("/steering?host={name}"))
}

fn get<T: DeserializeOwned>(address: SocketAddr, path: &str) -> Result<T, FetchError> {
    let body = send(address, path)?;
    serde_json::from_slice(&body).map_err(|error| FetchError::Answer(address, error.to_string()))
}

/// The body of a `200`; an error with the status and a short body of any other response.
fn send(address: SocketAddr, path: &str) -> Result<Vec<u8>, FetchError> {
    let failed = |error| failed(address, error);
    let request = Request::get(format!("http://{address}{path}"));
    let request = request.body(()).map_err(|error| failed(error.into()))?;
    let mut response = agent().run(request).map_err(failed)?;
    let body = response.body_mut().with_config().limit(MAX_BODY_BYTES).read_to_vec();
    let body = body.map_err(failed)?;
    match response.status() {
        StatusCode::OK => Ok(body),
        status if body.len() <= SHOWN_BYTES => {
            let shown = format!("{status} {}", String::from_utf8_lossy(&body).trim());
            Err(FetchError::Answer(address, shown.trim().escape_debug().to_string()))
        }
        status => Err(FetchError::Answer(address, status.to_string())),
    }
}

fn agent() -> Agent {
    let config = Agent::config_builder()
        .timeout_connect(Some(TIMEOUT))
        .timeout_per_read(Some(TIMEOUT))
        .timeout_per_write(Some(TIMEOUT))
        // Not through the proxy that the environment names.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false);
    config.build().into()
}

fn failed(address: SocketAddr, error: Error) -> FetchError {
    let is_of_connect = match &error {
        Error::Timeout(Timeout::Connect) => true,
        Error::Io(error) => matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkUnreachable
                | ErrorKind::AddrNotAvailable
        ),
        _ => false,
    };
    let error = Box::new(error);
    if is_of_connect { FetchError::Connect(address, error) } else { FetchError::Io(address, error) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use super::*;

    /// A server that answers one request with these bytes.
    fn answering(answer: Vec<u8>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut stream = listener.accept().unwrap().0;
            // A connection that is closed with unread bytes is reset, and the answer is lost.
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.extend(byte);
            }
            stream.write_all(&answer).unwrap();
        });
        address
    }

    fn error(answer: &[u8]) -> String {
        let address = answering(answer.to_vec());
        fetch(address).unwrap_err().to_string().replace(&address.to_string(), "ADDRESS")
    }

    #[test]
    fn the_answer_of_another_server_is_an_error_with_its_status() {
        let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\ngo\x1bne\n";
        let expected = "unexpected response from ADDRESS: 404 Not Found go\\u{1b}ne";
        assert_eq!(error(not_found), expected);
        assert!(error(b"SSH-2.0\r\n").starts_with("no response from ADDRESS: "));
    }

    #[test]
    fn a_whole_answer_is_read_and_one_that_is_cut_off_is_an_error() {
        let json = serde_json::to_vec(&StatusView::default()).unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", json.len());
        let whole = [head.as_bytes(), &json].concat();
        assert_eq!(fetch(answering(whole.clone())).unwrap(), StatusView::default());
        for end in [0, head.len() - 1, head.len(), whole.len() - 1] {
            assert!(fetch(answering(whole[..end].to_vec())).is_err(), "{end}");
        }
    }

    #[test]
    fn where_nothing_listens_the_error_says_so() {
        // Bound and dropped, so that no other program is likely to have it.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let error = fetch(address).unwrap_err();
        assert!(matches!(error, FetchError::Connect(..)), "{error}");
    }
}
