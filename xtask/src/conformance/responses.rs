//! llhttp's responses, sent to the proxy by an upstream that says nothing else.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::Result;

use super::{
    TestBench,
    differences::{self, Tally},
    vectors::{self, Expected},
};

const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn run(bench: &TestBench) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let upstream = listener.local_addr()?;
    let response = Arc::new(Mutex::new(Vec::new()));
    let said = Arc::clone(&response);
    // It ends with this tool.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            say(stream, &said.lock().unwrap_or_else(PoisonError::into_inner));
        }
    });
    let proxy = bench.proxy("responses", upstream, false)?;
    let mut tally = Tally::new("responses", differences::RESPONSES);
    for vector in vectors::read(bench, "response")? {
        if vector.expected == Expected::Unfinished {
            continue;
        }
        response.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&vector.bytes);
        let is_accepted = is_passed_on(proxy.address)?;
        tally.add(&vector, is_accepted);
    }
    tally.finish()
}

/// Reads a request's head, and sends the vector.
fn say(mut stream: TcpStream, response: &[u8]) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(received @ 1..) => head.extend_from_slice(piece.get(..received).unwrap_or_default()),
            _ => return,
        }
    }
    let _ = stream.write_all(response);
    let _ = stream.shutdown(Shutdown::Write);
    // A reset would take the response away.
    while let Ok(1..) = stream.read(&mut piece) {}
}

/// Whether the client gets the response: neither one of the proxy's own nor one that is cut off.
fn is_passed_on(address: SocketAddr) -> Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut response = Vec::new();
    let is_whole = stream.read_to_end(&mut response).is_ok();
    let head = String::from_utf8_lossy(&response);
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(is_whole && !matches!(status, "" | "502" | "503" | "504"))
}
