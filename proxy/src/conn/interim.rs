//! Interim responses in the form that the client's protocol gives them. Pure.

use http::{HeaderMap, StatusCode};

use crate::http::InterimHead;

/// The largest frame that every HTTP/2 peer takes (RFC 9113 section 4.2), and the most that an interim
/// response may weigh over HTTP/1.1 too.
const MOST_BYTES: usize = 16 * 1024;
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
/// "Literal header field without indexing, indexed name" (RFC 7541 section 6.2.2), with the static
/// table's first `:status`.
const STATUS_NAME: u8 = 8;
/// "Literal header field without indexing, new name".
const NEW_NAME: u8 = 0;
/// The most that a length of one byte holds (RFC 7541 section 5.1, prefix of 7 bits).
const PREFIX_MAX: usize = 127;

/// Its status line and fields; `None` if it is too large.
pub(super) fn http1(head: &InterimHead) -> Option<Vec<u8>> {
    let reason = head.status.canonical_reason().unwrap_or_default();
    let mut bytes = format!("HTTP/1.1 {} {reason}\r\n", head.status.as_str()).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    (bytes.len() <= MOST_BYTES).then_some(bytes)
}

/// A HEADERS frame on the stream. Its fields are literals that leave HPACK's tables as they are, since
/// those belong to h2. `None` if it is too large for one frame.
pub(super) fn http2(head: &InterimHead) -> Option<Vec<u8>> {
    let stream = head.stream?;
    let mut fields = Vec::new();
    put_status(&mut fields, head.status);
    put_fields(&mut fields, &head.headers);
    let length = u32::try_from(fields.len()).ok().filter(|_| fields.len() <= MOST_BYTES)?;
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[HEADERS, END_HEADERS]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.append(&mut fields);
    Some(frame)
}

fn put_status(block: &mut Vec<u8>, status: StatusCode) {
    block.push(STATUS_NAME);
    put_string(block, status.as_str().as_bytes());
}

fn put_fields(block: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        block.push(NEW_NAME);
        put_string(block, name.as_str().as_bytes());
        put_string(block, value.as_bytes());
    }
}

/// A string without Huffman coding (RFC 7541 section 5.2).
fn put_string(block: &mut Vec<u8>, text: &[u8]) {
    let mut rest = match text.len().checked_sub(PREFIX_MAX) {
        None => {
            block.push(u8::try_from(text.len()).unwrap_or_default());
            return block.extend_from_slice(text);
        }
        Some(rest) => rest,
    };
    block.push(PREFIX_MAX as u8);
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
    block.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hints(value: &str) -> InterimHead {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_str(value).unwrap());
        InterimHead { stream: Some(1), status: StatusCode::EARLY_HINTS, headers }
    }

    #[test]
    fn an_interim_response_over_http1_has_no_body() {
        let bytes = http1(&hints("</a.css>")).unwrap();
        assert_eq!(bytes, b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
    }

    #[test]
    fn a_status_without_a_name_keeps_the_space() {
        let status = StatusCode::from_u16(199).unwrap();
        let head = InterimHead { stream: None, status, headers: HeaderMap::new() };
        assert_eq!(http1(&head).unwrap(), b"HTTP/1.1 199 \r\n\r\n");
    }

    #[test]
    fn a_string_of_any_length_has_the_length_of_rfc_7541() {
        for (length, prefix) in [
            (0, &[0][..]),
            (126, &[126]),
            (127, &[127, 0]),
            (254, &[127, 127]),
            (255, &[127, 128, 1]),
            (1337, &[127, 186, 9]),
        ] {
            let mut block = Vec::new();
            put_string(&mut block, &vec![b'x'; length]);
            assert_eq!(&block[..prefix.len()], prefix, "{length}");
            assert_eq!(block.len(), prefix.len() + length);
        }
    }

    #[test]
    fn an_interim_response_is_one_headers_frame_of_its_stream() {
        let status = StatusCode::CONTINUE;
        let head = InterimHead { stream: Some(0x0102_0305), status, headers: HeaderMap::new() };
        let frame = http2(&head).unwrap();
        assert_eq!(frame, b"\x00\x00\x05\x01\x04\x01\x02\x03\x05\x08\x03100");
    }

    #[test]
    fn an_interim_response_that_fits_no_frame_is_left_out() {
        let large = hints(&"x".repeat(MOST_BYTES));
        assert_eq!(http1(&large), None);
        assert_eq!(http2(&large), None);
        assert!(http2(&hints(&"x".repeat(MOST_BYTES - 100))).is_some());
    }
}
