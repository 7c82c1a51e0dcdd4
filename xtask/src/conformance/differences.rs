//! The vectors that the proxy judges in another way than llhttp, each with the reason.

use anyhow::{Result, ensure};

use super::vectors::{Expected, Vector};

/// The title of a vector, and why the proxy differs.
pub(super) type Difference = (&'static str, &'static str);

const UPGRADE: &str = "the route allows no upgrade (403)";
const BARE_LF: &str =
    "RFC 9112 section 2.2 lets a recipient take a bare LF for the end of a line, and hyper does";
const EXTENSION: &str =
    "chunk extensions are skipped unread (RFC 9112 section 7.1.1 lets a recipient ignore them)";
const METHOD: &str = "any token is a method (RFC 9110 section 9.1); the upstream decides";
const NOT_HTTP: &str = "not HTTP, but a protocol that llhttp reads too";
const CONNECT: &str = "CONNECT is refused (405)";
const AUTHORITY: &str = "an authority that is not that of Host, or has user information";
const SWITCHING: &str = "101 without an upgrade that was asked for (RFC 9110 section 15.2.2)";

pub(super) const REQUESTS: &[Difference] = &[
    ("request/connection: Parsing multiple tokens / Multiple tokens with folding and LWS", UPGRADE),
    ("request/connection: `upgrade` / Setting a flag and pausing", UPGRADE),
    ("request/connection: `upgrade` / Emitting part of body and pausing", UPGRADE),
    ("request/connection: `upgrade` / Upgrade GET request", UPGRADE),
    ("request/connection: `upgrade` / Upgrade POST request", UPGRADE),
    ("request/invalid: HTTP protocol and ANNOUNCE method", METHOD),
    ("request/invalid: Headers separated by LF", BARE_LF),
    ("request/invalid: Empty headers separated by LF", BARE_LF),
    ("request/invalid: Invalid method", METHOD),
    ("request/invalid: Missing CR between headers", BARE_LF),
    ("request/method: CONNECT request", CONNECT),
    ("request/method: CONNECT request with CAPS", CONNECT),
    ("request/method: CONNECT with body", CONNECT),
    (
        "request/method: M-SEARCH request",
        "`*` is a target of OPTIONS alone (RFC 9112 section 3.2.4)",
    ),
    ("request/method: SOURCE request with ICE", NOT_HTTP),
    ("request/method: OPTIONS request with RTSP", NOT_HTTP),
    ("request/method: ANNOUNCE request with RTSP", NOT_HTTP),
    ("request/sample: No HTTP version", "HTTP/0.9 is not supported"),
    ("request/transfer-encoding: `chunked` / No extension after semicolon", EXTENSION),
    ("request/transfer-encoding: `chunked` / Unbalanced chunk extensions quoting", EXTENSION),
    ("request/transfer-encoding: Space after chunk header", EXTENSION),
    (
        "request/uri: Quotes in URI",
        "no URI has a quotation mark (RFC 3986 section 2); hyper refuses one in a query",
    ),
    ("request/uri: Host terminated by a query string", AUTHORITY),
    ("request/uri: `host:port` terminated by a query string", AUTHORITY),
    ("request/uri: `host:port` terminated by a space", AUTHORITY),
    (
        "request/uri: Disallow UTF-8 in URI path in strict mode",
        "bytes above 127 in a path are escaped",
    ),
    ("request/uri: Underscore in hostname", CONNECT),
    ("request/uri: `host:port` and basic auth", AUTHORITY),
];

pub(super) const RESPONSES: &[Difference] = &[
    ("response/connection: HTTP 101 response with Upgrade and Content-Length header", SWITCHING),
    ("response/connection: HTTP 101 response with Upgrade and Transfer-Encoding header", SWITCHING),
    ("response/connection: HTTP 103 first, then 200", "the final response is not whole"),
    ("response/invalid: Invalid space after start line / Only LFs present and no body", BARE_LF),
    ("response/invalid: Invalid space after start line / Only LFs present", BARE_LF),
    ("response/sample: No carriage ret", BARE_LF),
    ("response/transfer-encoding: Trailing space on chunked body", EXTENSION),
    ("response/transfer-encoding: No extension after semicolon", EXTENSION),
];

/// Counts outcomes, and compares them with the expected ones.
pub(super) struct Tally {
    name: &'static str,
    known: &'static [Difference],
    same: usize,
    differs: Vec<String>,
    unexpected: Vec<String>,
}

impl Tally {
    pub(super) fn new(name: &'static str, known: &'static [Difference]) -> Tally {
        Tally { name, known, same: 0, differs: Vec::new(), unexpected: Vec::new() }
    }

    pub(super) fn add(&mut self, vector: &Vector, is_accepted: bool) {
        let is_known = self.known.iter().any(|(title, _)| *title == vector.title);
        let title = vector.title.clone();
        match is_accepted == (vector.expected == Expected::Complete) {
            true if is_known => self.unexpected.push(format!("{title}: as llhttp now")),
            true => self.same += 1,
            false if is_known => self.differs.push(title),
            false => {
                let judged = if is_accepted { "accepted" } else { "refused" };
                self.unexpected.push(format!("{title}: {judged}"));
            }
        }
    }

    /// Prints the counts; fails if an outcome is unexpected, or a known difference was not met.
    pub(super) fn finish(mut self) -> Result<()> {
        let Tally { name, known, same, .. } = self;
        println!("{name}: {same} as llhttp, {} otherwise for a reason", self.differs.len());
        let unmet = known.iter().filter(|(title, _)| !self.differs.iter().any(|met| met == title));
        self.unexpected.extend(unmet.map(|(title, _)| format!("{title}: not met")));
        ensure!(self.unexpected.is_empty(), "unexpected:\n{}", self.unexpected.join("\n"));
        Ok(())
    }
}
