//! The real curl.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    http::values,
    pki::{Pair, pki},
    process::run,
    tempdir::TempDir,
    tools::need,
};

/// One run of curl, which connects to one address, whatever host the URL names.
#[derive(Debug)]
pub struct Curl {
    command: Command,
    dir: TempDir,
    input: Vec<u8>,
}

/// The response that curl received.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// curl's exit code: 0 if the transfer was complete (`man curl`, EXIT CODES).
    pub exit: i32,
    /// The status of the last response; 0 if there was none.
    pub status: u16,
    /// The HTTP version of the last response: `1.1`, `2`.
    pub version: String,
    /// The number of response heads, interim ones included.
    pub heads: usize,
    /// Header fields of the last response, trailers included.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The errors that curl printed; with `-v`, all its output.
    pub stderr: String,
}

impl Fetched {
    /// The first value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        values(&self.headers, name).first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The request as [`crate::Backend::echo`] saw it.
    ///
    /// # Panics
    /// When the body is not its answer.
    pub fn echoed(&self) -> crate::backend::Echoed {
        assert_eq!(self.status, 200, "{self:?}");
        crate::backend::Echoed::parse(&self.text())
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?} ({self:?})"))
    }
}

impl Curl {
    /// Requests a URL at this address, trusting [`crate::Pki::ca`].
    pub fn new(address: SocketAddr, url: &str) -> Self {
        Self::with_connections(&[format!("::{address}")], url)
    }

    /// The same, but requests of the host `apart` go to itself, and redirects are followed.
    pub fn following(address: SocketAddr, apart: SocketAddr, url: &str) -> Self {
        let connections = [format!("{apart}:{apart}"), format!("::{address}")];
        Self::with_connections(&connections, url).args(["--location", "--max-redirs", "20"])
    }

    fn with_connections(connections: &[String], url: &str) -> Self {
        let dir = TempDir::new("curl");
        let mut command = Command::new(need("curl"));
        command.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "120"]);
        for connection in connections {
            command.args(["--connect-to", connection]);
        }
        command.arg("--cacert").arg(pki().ca());
        command.arg("--dump-header").arg(dir.path().join("head"));
        command.args(["--write-out", "%{stderr}\n%{http_code} %{http_version}", "-q", url]);
        Self { command, dir, input: Vec::new() }
    }

    /// Adds arguments.
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(args);
        self
    }

    /// Adds a request header.
    pub fn header(self, line: &str) -> Self {
        self.args(["--header", line])
    }

    /// Adds a request header that is too long for a command line.
    pub fn long_header(self, line: &str) -> Self {
        let path = self.dir.write("long-header", line);
        self.args(["--header", &format!("@{}", path.display())])
    }

    /// Presents a client certificate.
    pub fn client(mut self, pair: &Pair) -> Self {
        self.command.arg("--cert").arg(&pair.cert).arg("--key").arg(&pair.key);
        self
    }

    /// Speaks HTTP/2.
    pub fn http2(self) -> Self {
        self.args(["--http2"])
    }

    /// Speaks HTTP/1.1.
    pub fn http1(self) -> Self {
        self.args(["--http1.1"])
    }

    /// Posts these bytes.
    pub fn post(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.input = body.into();
        self.args(["--data-binary", "@-"])
    }

    /// Runs curl.
    ///
    /// # Panics
    /// When curl cannot be started.
    pub fn run(mut self) -> Fetched {
        let body = self.dir.path().join("body");
        self.command.arg("--output").arg(&body);
        let done = run(&mut self.command, &self.input);
        let heads = read_text(&self.dir.path().join("head"));
        let (stderr, code, version) = split_write_out(&done.stderr);
        let blocks = head_blocks(&heads);
        Fetched {
            exit: done.code.unwrap_or(-1),
            status: code,
            version,
            heads: blocks.iter().filter(|block| block.starts_with("HTTP/")).count(),
            headers: last_headers(&blocks),
            body: std::fs::read(&body).unwrap_or_default(),
            stderr,
        }
    }

    /// Runs curl; the transfer must be complete.
    ///
    /// # Panics
    /// When it was not.
    pub fn ok(self) -> Fetched {
        let fetched = self.run();
        assert_eq!(fetched.exit, 0, "curl failed: {fetched:?}");
        fetched
    }

    /// The command with the response's body on its standard output, for a test that streams. The
    /// directory must live as long as the command runs. The command ends if no byte has moved for a
    /// minute; its total time depends on the machine.
    pub fn streaming(mut self) -> (Command, TempDir) {
        self.command.args(["--max-time", "0", "--speed-limit", "1", "--speed-time", "60"]);
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        (self.command, self.dir)
    }
}

fn read_text(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn split_write_out(stderr: &str) -> (String, u16, String) {
    let (text, last) = stderr.rsplit_once('\n').unwrap_or(("", stderr));
    let (code, version) = last.split_once(' ').unwrap_or(("0", ""));
    (text.trim_end().to_owned(), code.parse().unwrap_or(0), version.to_owned())
}

/// Heads and trailers, each a block of lines.
fn head_blocks(text: &str) -> Vec<String> {
    text.split("\r\n\r\n").filter(|block| !block.trim().is_empty()).map(str::to_owned).collect()
}

/// The last head, and the trailers that curl writes after it.
fn last_headers(blocks: &[String]) -> Vec<(String, String)> {
    let last = blocks.iter().rposition(|block| block.starts_with("HTTP/")).unwrap_or(0);
    blocks[last.min(blocks.len())..]
        .iter()
        .flat_map(|block| crate::http::parse_headers(block))
        .collect()
}
