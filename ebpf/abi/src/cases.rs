//! The table of hellos that host and kernel tests share, and the builder that makes them.
//!
//! Each case says how the kernel program reads the first segment and how user space reads all
//! bytes. Where the two differ, the connection is handed off.

use alloc::vec;
use alloc::vec::Vec;

use crate::{Invalid, Outcome};

/// One hello, or other first bytes, and the expected result.
#[derive(Clone, Debug)]
pub struct Case {
    /// The special property of the case.
    pub title: &'static str,
    /// Everything the client sends.
    pub bytes: Vec<u8>,
    /// How many of `bytes` are in the first segment.
    pub first_segment: usize,
    /// The result of [`sni`](crate::sni) for the first segment; [`Outcome::Name`] has a name.
    pub kernel: (Outcome, &'static str),
    /// The result of [`client_hello`](crate::client_hello) for all bytes.
    pub user: Expected<'static>,
}

/// The result that user space must return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// A hello with this name.
    Name(&'a str),
    /// A hello without a name.
    NoName,
    /// No TLS; the value says whether it is HTTP.
    NotTls(bool),
    /// A hello that is rejected.
    Invalid(Invalid),
}

/// A ClientHello under construction. Unchanged, it is a hello without a server name that
/// `rustls::server::Acceptor` accepts.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Extensions as type and body, in the order they are sent.
    pub extensions: Vec<(u16, Vec<u8>)>,
}

const SERVER_NAME: u16 = 0;
const PADDING: u16 = 21;
const KEY_SHARE: u16 = 51;
const ENCRYPTED_CLIENT_HELLO: u16 = 0xfe0d;
const GREASE: u16 = 0x0a0a;
const X25519_MLKEM768: u16 = 0x11ec;

impl Default for Hello {
    fn default() -> Self {
        let supported_versions = vec![2, 3, 4];
        let supported_groups = vec![0, 2, 0, 29];
        let signature_algorithms = vec![0, 4, 4, 3, 8, 4];
        let x25519 = [&[0, 36, 0, 29, 0, 32][..], &[0x39; 32]].concat();
        Self {
            extensions: vec![
                (43, supported_versions),
                (10, supported_groups),
                (13, signature_algorithms),
                (KEY_SHARE, x25519),
            ],
        }
    }
}

impl Hello {
    /// The default hello with one server name, which is sent first.
    pub fn to(name: &[u8]) -> Self {
        Self::default().first(SERVER_NAME, server_name_list(&[(0, name)]))
    }

    /// Adds an extension before the others.
    #[must_use]
    pub fn first(mut self, kind: u16, body: Vec<u8>) -> Self {
        self.extensions.insert(0, (kind, body));
        self
    }

    /// Adds an extension after the others.
    #[must_use]
    pub fn last(mut self, kind: u16, body: Vec<u8>) -> Self {
        self.extensions.push((kind, body));
        self
    }

    /// The handshake message.
    pub fn message(&self) -> Vec<u8> {
        let mut extensions = Vec::new();
        for (kind, body) in &self.extensions {
            extensions.extend(kind.to_be_bytes());
            extensions.extend(len16(body));
            extensions.extend(body);
        }
        let mut hello = vec![3, 3];
        hello.extend([0x5a; 32]); // random
        hello.extend([0]); // session id
        hello.extend([0, 4, 0x13, 0x01, 0xc0, 0x2b]); // cipher suites
        hello.extend([1, 0]); // compression methods
        hello.extend(len16(&extensions));
        hello.extend(extensions);
        message(1, &hello)
    }

    /// The message in one record.
    pub fn record(&self) -> Vec<u8> {
        records(&self.message(), usize::MAX)
    }
}

/// A handshake message of type `kind`.
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, high, mid, low] = (body.len() as u32).to_be_bytes();
    [&[kind, high, mid, low], body].concat()
}

/// Handshake bytes in records of at most `payload_len` bytes each, within the limit of TLS.
pub fn records(handshake: &[u8], payload_len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for payload in handshake.chunks(payload_len.clamp(1, 1 << 14)) {
        bytes.extend(record(22, payload));
    }
    bytes
}

/// One record of type `kind`.
pub fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    [&[kind, 3, 1], &len16(payload)[..], payload].concat()
}

/// The body of a server_name extension: names with their types.
pub fn server_name_list(names: &[(u8, &[u8])]) -> Vec<u8> {
    let mut list = Vec::new();
    for (kind, name) in names {
        list.push(*kind);
        list.extend(len16(name));
        list.extend(*name);
    }
    [&len16(&list)[..], &list].concat()
}

fn len16(bytes: &[u8]) -> [u8; 2] {
    (bytes.len() as u16).to_be_bytes()
}

/// All cases.
pub fn all() -> Vec<Case> {
    [segments(), records_cases(), names(), extensions(), strangers()].concat()
}

fn segments() -> Vec<Case> {
    let hello = Hello::to(b"app.example.com").record();
    let inside_the_name = position(&hello, b"example");
    vec![
        named("one segment", hello.clone(), "app.example.com"),
        named("one byte, then the rest", hello.clone(), "app.example.com").split_at(1),
        named("split inside the record header", hello.clone(), "app.example.com").split_at(4),
        named("split inside the name", hello.clone(), "app.example.com").split_at(inside_the_name),
        Case {
            kernel: (Outcome::Name, "app.example.com"),
            ..named("split behind the name", hello, "app.example.com")
                .split_at(inside_the_name + "example.com".len())
        },
        named("a post-quantum key share before the name", post_quantum(), "app.example.com")
            .split_at(1400),
    ]
}

/// A hello of 1.5 kB, larger than a segment on Ethernet, with the name last.
fn post_quantum() -> Vec<u8> {
    let mut hello = Hello::default();
    hello.extensions.retain(|(kind, _)| *kind != KEY_SHARE);
    let share = [&X25519_MLKEM768.to_be_bytes()[..], &[0x04, 0xc0], &[7; 1216]].concat();
    hello
        .first(KEY_SHARE, [&len16(&share)[..], &share].concat())
        .last(PADDING, vec![0; 200])
        .last(SERVER_NAME, server_name_list(&[(0, b"app.example.com")]))
        .record()
}

fn records_cases() -> Vec<Case> {
    let hello = Hello::to(b"app.example.com").message();
    let padded = |len: usize| {
        let rest = Hello::default().last(PADDING, Vec::new()).message().len();
        Hello::default().last(PADDING, vec![0; len - rest]).message()
    };
    let fragmented = |title, payload_len| Case {
        kernel: (Outcome::Unsupported, ""),
        ..named(title, records(&hello, payload_len), "app.example.com")
    };
    let mut followed = hello.clone();
    followed.extend(message(1, b"x"));
    vec![
        fragmented("two records in one segment", hello.len() - 5),
        fragmented("records of one byte", 1),
        fragmented("records of seven bytes", 7),
        Case {
            kernel: (Outcome::Unsupported, ""),
            ..unnamed("64 kB in four records", records(&padded(64_000), 1 << 14))
        },
        refused(
            "one byte over 64 KiB",
            records(&message(1, &[0; 1 << 16]), 1 << 14),
            Invalid::TooLarge,
        ),
        refused("another message in the same record", record(22, &followed), Invalid::TrailingData),
        refused(
            "an alert between two records",
            [record(22, &hello[..50]), record(21, &[1, 0]), record(22, &hello[50..])].concat(),
            Invalid::UnexpectedRecord,
        ),
        refused(
            "an empty record between two",
            [record(22, &hello[..50]), record(22, &[]), record(22, &hello[50..])].concat(),
            Invalid::RecordLength,
        ),
    ]
}

fn names() -> Vec<Case> {
    const LABEL: &str = "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxy"; // 63
    const LONGEST: &str = concat!(
        "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxy.",
        "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxy.",
        "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxy.",
        "abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvw"
    );
    let hello = |name: &[u8]| Hello::to(name).record();
    let longer = |len| hello(&[LONGEST.as_bytes(), &vec![b'x'; len - LONGEST.len()]].concat());
    vec![
        named("upper case", hello(b"APP.Example.COM"), "app.example.com"),
        named("trailing dot", hello(b"app.example.com."), "app.example.com"),
        named("one label", hello(b"localhost"), "localhost"),
        named("punycode", hello(b"xn--bcher-kva.example"), "xn--bcher-kva.example"),
        named("underscore", hello(b"_sip.example.com"), "_sip.example.com"),
        named("63-byte label", hello(LABEL.as_bytes()), LABEL),
        named("253 bytes", hello(LONGEST.as_bytes()), LONGEST),
        not_a_name("254 bytes", longer(254)),
        not_a_name("255 bytes", longer(255)),
        not_a_name("256 bytes", longer(256)),
        not_a_name("10,000 bytes", longer(10_000)),
        not_a_name("64-byte label", hello(&[LABEL.as_bytes(), b"z.example"].concat())),
        not_a_name("a wildcard", hello(b"*.example.com")),
        not_a_name("NUL inside", hello(b"app\0.example.com")),
        not_a_name("NUL at the end", hello(b"app.example.com\0")),
        not_a_name("not ASCII", hello("bücher.example".as_bytes())),
        not_a_name("two trailing dots", hello(b"app.example.com..")),
        not_a_name("a dot alone", hello(b".")),
        not_a_name("an empty label", hello(b"app..example.com")),
        not_a_name("a hyphen at a label's end", hello(b"app-.example.com")),
        not_a_name("a port", hello(b"app.example.com:443")),
        not_a_name("a number as the last label", hello(b"app.example.1")),
        not_a_name("an IPv4 literal out of range", hello(b"192.0.2.256")),
        not_a_name("an IPv6 literal in brackets", hello(b"[2001:db8::1]")),
        unnamed("IPv4 literal", hello(b"192.0.2.1")),
        unnamed("IPv6 literal", hello(b"2001:db8::1")),
        unnamed("IPv6 literal with IPv4 in it", hello(b"::ffff:192.0.2.1")),
    ]
}

fn extensions() -> Vec<Case> {
    let list = |names: &[(u8, &[u8])]| server_name_list(names);
    let with = |body: Vec<u8>| Hello::default().first(SERVER_NAME, body).record();
    let mut crowded = Hello::default();
    crowded.extensions.extend((0..64).map(|kind| (0x1000 + kind, Vec::new())));
    let no_extensions = [&[3, 3][..], &[0x5a; 32], &[0, 0, 2, 0x13, 0x01, 1, 0]].concat();
    vec![
        unnamed("no server name", Hello::default().record()),
        unnamed("no extensions at all", record(22, &message(1, &no_extensions))),
        named("GREASE ECH", grease_ech(), "app.example.com"),
        named(
            "a name of an unknown type behind the host name",
            with(list(&[(0, b"app.example.com"), (7, b"?")])),
            "app.example.com",
        ),
        not_a_name("a name of an unknown type first", with(list(&[(7, b"?"), (0, b"a.example")]))),
        Case {
            kernel: (Outcome::Name, "a.example"),
            ..refused(
                "two host names",
                with(list(&[(0, b"a.example"), (0, b"b.example")])),
                Invalid::Malformed,
            )
        },
        Case {
            kernel: (Outcome::Name, "a.example"),
            ..refused(
                "two server_name extensions",
                Hello::to(b"a.example").last(SERVER_NAME, list(&[(0, b"b.example")])).record(),
                Invalid::Malformed,
            )
        },
        refused("an empty host name", with(list(&[(0, b"")])), Invalid::Malformed),
        refused("an empty list of names", with(list(&[])), Invalid::Malformed),
        refused("an empty server_name extension", with(Vec::new()), Invalid::Malformed),
        refused("a name longer than its list", with(vec![0, 4, 0, 0, 9, b'a']), Invalid::Malformed),
        refused("a list longer than its extension", with(vec![0, 9, 0, 0, 1]), Invalid::Malformed),
        Case {
            kernel: (Outcome::Unsupported, ""),
            ..named(
                "68 extensions before the name",
                crowded.last(SERVER_NAME, list(&[(0, b"app.example.com")])).record(),
                "app.example.com",
            )
        },
    ]
}

/// A hello like Chrome's: GREASE first and last, an ECH extension that hides nothing.
fn grease_ech() -> Vec<u8> {
    let outer =
        [&[0, 0, 1, 0, 1, 0x7f][..], &len16(&[0; 32]), &[1; 32], &len16(&[0; 144]), &[2; 144]];
    let mut hello = Hello::to(b"app.example.com").first(GREASE, Vec::new());
    hello.extensions.insert(1, (ENCRYPTED_CLIENT_HELLO, outer.concat()));
    hello.last(0x1a1a, vec![0]).record()
}

fn strangers() -> Vec<Case> {
    let stranger = |title, bytes: &[u8], plain_http| Case {
        kernel: (Outcome::NotTls, ""),
        user: Expected::NotTls(plain_http),
        ..unnamed(title, bytes.to_vec())
    };
    let refused = |title, bytes, reason| Case {
        kernel: (Outcome::NotTls, ""),
        ..refused(title, bytes, reason)
    };
    vec![
        stranger("plain HTTP", b"GET / HTTP/1.1\r\nHost: app.example.com\r\n\r\n", true),
        stranger("plain HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true),
        stranger("SSH", b"SSH-2.0-OpenSSH_9.2\r\n", false),
        stranger("SSL 2.0", &[0x80, 0x2e, 0x01, 0x00, 0x02, 0x00, 0x15], false),
        stranger("a PROXY header", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 443\r\n", false),
        stranger("TLS 4.0", &[22, 4, 0, 0, 5, 1, 0, 0, 1, 0], false),
        refused("an alert first", record(21, &[2, 40]), Invalid::UnexpectedRecord),
        refused(
            "a ServerHello first",
            record(22, &message(2, &[0; 40])),
            Invalid::UnexpectedMessage,
        ),
    ]
}

fn position(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap_or(bytes.len())
}

fn named(title: &'static str, bytes: Vec<u8>, name: &'static str) -> Case {
    Case { kernel: (Outcome::Name, name), user: Expected::Name(name), ..unnamed(title, bytes) }
}

fn unnamed(title: &'static str, bytes: Vec<u8>) -> Case {
    let first_segment = bytes.len();
    Case { title, bytes, first_segment, kernel: (Outcome::NoName, ""), user: Expected::NoName }
}

fn not_a_name(title: &'static str, bytes: Vec<u8>) -> Case {
    Case { user: Expected::Invalid(Invalid::ServerName), ..unnamed(title, bytes) }
}

fn refused(title: &'static str, bytes: Vec<u8>, reason: Invalid) -> Case {
    Case {
        kernel: (Outcome::Unsupported, ""),
        user: Expected::Invalid(reason),
        ..unnamed(title, bytes)
    }
}

impl Case {
    /// Sends only `len` bytes first, too few for the kernel.
    fn split_at(self, len: usize) -> Self {
        Self { first_segment: len, kernel: (Outcome::Truncated, ""), ..self }
    }
}
