//! llhttp's requests, sent to the proxy in the clear.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Result, ensure};

use super::{
    TestBench,
    differences::{self, Tally},
    vectors::{self, Expected, Vector},
};

/// The field of responses that come from the upstream.
pub(super) const MARK: &str = "x-from-upstream";

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(bench: &TestBench) -> Result<()> {
    let (upstream, _nginx) = bench.nginx()?;
    let proxy = bench.proxy("requests", upstream, false)?;
    let mut tally = Tally::new("requests", differences::REQUESTS);
    for vector in vectors::read(bench, "request")? {
        if vector.expected == Expected::Unfinished {
            continue;
        }
        let is_accepted = is_passed_on(proxy.address, &vector)?;
        tally.add(&vector, is_accepted);
    }
    tally.finish()
}

/// Whether the first request reaches the upstream.
fn is_passed_on(address: SocketAddr, vector: &Vector) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The proxy may close while it is written, or before.
    let _ = stream.write_all(&with_host(&vector.bytes));
    let mut response = Vec::new();
    let mut piece = [0; 4096];
    while !response.windows(4).any(|four| four == b"\r\n\r\n") {
        let Ok(received @ 1..) = stream.read(&mut piece) else { break };
        response.extend_from_slice(piece.get(..received).unwrap_or_default());
    }
    let response = String::from_utf8_lossy(&response).to_lowercase();
    let head = response.split("\r\n\r\n").next().unwrap_or_default();
    ensure!(response.is_empty() || head.starts_with("http/1."), "{}: {response}", vector.title);
    Ok(head.contains(MARK))
}

/// The same with a Host of a route as the first field, in place of any other: the vectors have none, or
/// one that no route has.
fn with_host(bytes: &[u8]) -> Vec<u8> {
    let start = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let line = bytes.get(start..).unwrap_or_default();
    let Some(end) = line.windows(2).position(|two| two == b"\r\n") else { return bytes.to_vec() };
    let (line, rest) = bytes.split_at(start + end + 2);
    let mut out = [line, b"Host: localhost\r\n"].concat();
    let mut fields = rest;
    while let Some(end) = fields.windows(2).position(|two| two == b"\r\n") {
        let (field, next) = fields.split_at(end + 2);
        if end == 0 {
            break;
        }
        if !field.to_ascii_lowercase().starts_with(b"host:") {
            out.extend(field);
        }
        fields = next;
    }
    out.extend(fields);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_gets_a_host_that_has_a_route() {
        let with = with_host(b"GET / HTTP/1.1\r\nA: b\r\nhost: c\r\n\r\nHost: body\r\n");
        assert_eq!(with, b"GET / HTTP/1.1\r\nHost: localhost\r\nA: b\r\n\r\nHost: body\r\n");
        assert_eq!(with_host(b"\r\nGET\r\n\r\n"), b"\r\nGET\r\nHost: localhost\r\n\r\n");
        assert_eq!(with_host(b"GET"), b"GET");
    }
}
