use super::*;

/// Parses these bytes in parts of this size; the response says whether it is then complete.
fn parse_in(bytes: &[u8], part: usize) -> Result<(Response, Vec<u8>)> {
    let mut response = Response::new();
    let mut body = Vec::new();
    for part in bytes.chunks(part) {
        response.push(part, |bytes| {
            body.extend_from_slice(bytes);
            Ok(())
        })?;
    }
    Ok((response, body))
}

/// The head and the body of a complete response, which must be equal for parts of any size.
fn parse(text: &str) -> (Head, String) {
    let mut all = (1..=text.len()).map(|part| {
        let (response, body) = parse_in(text.as_bytes(), part).unwrap();
        assert!(response.is_complete(), "in parts of {part}");
        (response.head().unwrap(), String::from_utf8(body).unwrap())
    });
    let first = all.next().unwrap();
    assert!(all.all(|other| other == first));
    first
}

fn error(text: &str) -> String {
    let whole = parse_in(text.as_bytes(), text.len()).unwrap_err().to_string();
    assert!(parse_in(text.as_bytes(), 1).is_err());
    whole
}

#[test]
fn a_body_with_a_length_is_read() {
    let (head, body) = parse("HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH:  3 \r\n\r\nabc");
    assert_eq!(head, Head { status: 200, is_http11: true, closes: false });
    assert_eq!(body, "abc");
}

#[test]
fn a_body_in_chunks_is_read() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(
        parse(&format!("{head}1\r\na\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n")).1,
        "a0123456789"
    );
    assert_eq!(parse(&format!("{head}0\r\nTrailer: x\r\nAnother: y\r\n\r\n")).1, "");
}

#[test]
fn a_response_without_a_body_is_complete_with_its_head() {
    assert_eq!(parse("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").0.status, 404);
}

#[test]
fn a_body_without_a_length_ends_with_the_connection() {
    let text = b"HTTP/1.0 200 ok\r\nContent-type: text/html\r\n\r\nabc";
    let (mut response, body) = parse_in(text, 5).unwrap();
    assert_eq!(body, b"abc");
    assert!(!response.is_complete());
    response.end().unwrap();
    assert!(response.is_complete());
    assert_eq!(response.head().unwrap(), Head { status: 200, is_http11: false, closes: true });
}

#[test]
fn an_end_before_the_end_is_an_error() {
    let head = "HTTP/1.1 200 OK\r\n";
    let length = format!("{head}Content-Length: 3\r\n\r\nab");
    let chunk = format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    let last = format!("{head}Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for text in ["", head, &length, &chunk, &last] {
        let (mut response, _) = parse_in(text.as_bytes(), 1).unwrap();
        assert!(!response.is_complete(), "{text}");
        assert!(response.end().is_err(), "{text}");
    }
}

#[test]
fn the_server_may_announce_that_it_closes() {
    let closes =
        |field| parse(&format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{field}\r\n\r\n")).0.closes;
    assert!(closes("Connection: close"));
    assert!(closes("connection: Upgrade , CLOSE"));
    assert!(!closes("Connection: keep-alive"));
    assert!(!closes("X-Connection: close"));
}

#[test]
fn more_than_the_response_is_an_error() {
    let text = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab";
    assert_eq!(error(text), "1 bytes after the response");
}

#[test]
fn what_is_not_a_response_is_an_error() {
    for text in [
        "HTTP/2 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
    ] {
        error(text);
    }
}

#[test]
fn a_head_has_to_end_some_time() {
    let text = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(MAX_HEAD_BYTES));
    assert_eq!(error(&text), "a head over 64 KiB");
}
