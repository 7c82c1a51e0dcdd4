//! Fields that no client library sends, in HTTP/2 frames written by hand.

use portcullis_tests::{Backend, Proxy, Raw, raw::TlsOptions};

const NAME: &str = "app.localhost.pomerium.io";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A frame of the first stream (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// Fields as literals without indexing (RFC 7541 section 6.2.2).
fn block(fields: &[(&[u8], &[u8])]) -> Vec<u8> {
    let text = |text: &[u8]| [&[u8::try_from(text.len()).expect("a short text")], text].concat();
    fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

fn head(method: &str, more: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut fields: Vec<(&[u8], &[u8])> = vec![
        (b":method", method.as_bytes()),
        (b":scheme", b"https"),
        (b":authority", NAME.as_bytes()),
        (b":path", b"/"),
    ];
    fields.extend(more);
    block(&fields)
}

/// What became of the first stream.
#[derive(Debug, PartialEq)]
enum Outcome {
    Refused,
    /// The data of the response.
    Answered(String),
}

fn outcome(proxy: &Proxy, frames: &[Vec<u8>]) -> Outcome {
    let options = TlsOptions::name(NAME).alpn("h2");
    let mut raw = Raw::try_tls(proxy.address(), &options).expect("a TLS connection");
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").send([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    raw.send(frames.concat());
    let mut data = Vec::new();
    loop {
        let head = raw.exactly(9);
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = raw.exactly(length);
        let (kind, ends) = (head[3], head[4] & END_STREAM != 0);
        match kind {
            RST_STREAM | GOAWAY => return Outcome::Refused,
            DATA => data.extend(payload),
            _ => {}
        }
        if matches!(kind, DATA | HEADERS) && ends {
            return Outcome::Answered(String::from_utf8_lossy(&data).into_owned());
        }
    }
}

#[test]
fn fields_that_http1_could_not_carry_are_refused() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let cases: [(&[u8], &[u8]); 12] = [
        (b"x-a", b"1\r\nx-b: 2"),
        (b"x-a", b"1\n"),
        (b"x-a", b"1\0"),
        (b"x-a", b"1\x7f"),
        (b"x-a", b"\x0b1"),
        (b"X-A", b"1"),
        (b"x a", b"1"),
        (b"x-a:", b"1"),
        (b"", b"1"),
        (b"connection", b"x-a"),
        (b"transfer-encoding", b"chunked"),
        (b":path", b"/again"),
    ];
    for field in cases {
        let request = frame(HEADERS, END_STREAM | END_HEADERS, &head("GET", &[field]));
        assert_eq!(outcome(&proxy, &[request]), Outcome::Refused, "{field:?}");
    }
    let request = frame(HEADERS, END_STREAM | END_HEADERS, &head("GET", &[(b"x-a", b" \xe9 ")]));
    let Outcome::Answered(echoed) = outcome(&proxy, &[request]) else { panic!("refused") };
    assert!(echoed.contains(r#"["x-a","#), "{echoed}");
}

#[test]
fn pseudo_headers_in_trailers_reach_no_upstream() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let trailers = block(&[(b":path", b"/other"), (b"x-sum", b"7")]);
    let frames = [
        frame(HEADERS, END_HEADERS, &head("POST", &[(b"trailer", b"x-sum")])),
        frame(DATA, 0, b"body"),
        frame(HEADERS, END_STREAM | END_HEADERS, &trailers),
    ];
    let Outcome::Answered(echoed) = outcome(&proxy, &frames) else { panic!("refused") };
    let echoed = portcullis_tests::backend::Echoed::parse(&echoed);
    assert_eq!(echoed.text("target"), "/");
    assert_eq!(echoed.trailers(), [("x-sum".to_owned(), "7".to_owned())]);
}
