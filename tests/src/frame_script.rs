//! An HTTP/2 upstream whose frames are written one by one, for what libraries do not send.

use crate::{
    backend::Conn,
    frames::{DATA, END_HEADERS, GOAWAY, HEADERS, PING, RESET, SETTINGS, frame},
};

/// The flag of DATA and HEADERS that ends a message.
pub const END_STREAM: u8 = 1;
/// The flag of SETTINGS and PING that answers one.
const ACK: u8 = 1;

/// Speaks HTTP/2 without TLS: calls `respond` with the stream of each request's head, until the client
/// ends the connection or `respond` returns false.
pub fn serve(conn: &mut Conn, mut respond: impl FnMut(&mut Conn, u32) -> bool) {
    let Some(_preface) = conn.take(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()) else { return };
    conn.send(frame(SETTINGS, 0, 0, &[]));
    while let Some(head) = conn.take(9) {
        let [high, middle, low, kind, flags, a, b, c, d] = head[..] else { return };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let Some(payload) = conn.take(length) else { return };
        let goes_on = match kind {
            SETTINGS if flags & ACK == 0 => conn.try_send(frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => conn.try_send(frame(PING, ACK, 0, &payload)),
            HEADERS => respond(conn, u32::from_be_bytes([a, b, c, d]) & 0x7fff_ffff),
            _ => true,
        };
        if !goes_on {
            return;
        }
    }
}

/// The head of a response with status 200 and these fields.
pub fn headers(stream: u32, fields: &[(&str, &str)], flags: u8) -> Vec<u8> {
    // RFC 7541 section 6.1: an index, for the status.
    let block = [&[0x88], &literals(fields)[..]].concat();
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// Trailers, which end the message.
pub fn trailers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &literals(fields))
}

/// Fields that are not indexed (RFC 7541 section 6.2.2).
fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).expect("a short text"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// A piece of a body.
pub fn data(stream: u32, bytes: &[u8], flags: u8) -> Vec<u8> {
    frame(DATA, flags, stream, bytes)
}

/// The end of a stream by RST_STREAM with this code.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RESET, 0, stream, &code.to_be_bytes())
}

/// The end of a connection by GOAWAY with this code, for streams up to `last`.
pub fn go_away(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}
