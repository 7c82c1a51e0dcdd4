//! Detects plain HTTP on a TLS port by its first bytes.

/// Methods with the space after them: RFC 9110 section 9.3, PATCH (RFC 5789), and the HTTP/2
/// preface (RFC 9113 section 3.4). None of them begins with the first byte of a TLS record.
const METHODS: [&[u8]; 10] = [
    b"GET ",
    b"HEAD ",
    b"POST ",
    b"PUT ",
    b"DELETE ",
    b"CONNECT ",
    b"OPTIONS ",
    b"TRACE ",
    b"PATCH ",
    b"PRI ",
];

/// Whether `received` begins an HTTP request; `None` if more bytes are needed to decide.
pub(crate) fn is_request(received: &[u8]) -> Option<bool> {
    if METHODS.iter().any(|method| received.starts_with(method)) {
        return Some(true);
    }
    if METHODS.iter().any(|method| method.starts_with(received)) {
        return None;
    }
    Some(false)
}
