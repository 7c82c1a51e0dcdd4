//! A parser of HTTP/1 responses to GET (RFC 9112), fed as bytes arrive.

use anyhow::{Context as _, Result, bail, ensure};

/// The maximum length of a head, and of a line between chunks.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The maximum number of header fields.
const MAX_FIELDS: usize = 64;

/// A response that is being received.
#[derive(Debug)]
pub(crate) struct Response {
    state: State,
    /// The received part of a head, or of a line between chunks.
    partial: Vec<u8>,
    head: Head,
}

/// The parts of a head that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// False for HTTP/1.0.
    pub(crate) is_http11: bool,
    /// The server will close the connection after this response.
    pub(crate) closes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Head,
    Body { left: u64 },
    BodyUntilEnd,
    ChunkSize,
    Chunk { left: u64 },
    ChunkEnd,
    Trailers,
    Complete,
}

/// How the body is delimited (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilEnd,
}

impl Response {
    /// A response of which nothing was received.
    pub(crate) fn new() -> Self {
        Self { state: State::Head, partial: Vec::new(), head: Head::default() }
    }

    /// Takes bytes of the connection and passes the body's bytes on. Bytes after the response are
    /// an error, since no further request was sent.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        mut body: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Head => self.push_head(bytes)?,
                State::Body { left } | State::Chunk { left } => {
                    let (part, rest) = bytes.split_at(bytes.len().min(at_most_usize(left)));
                    body(part)?;
                    self.body_went_on(left - part.len() as u64);
                    rest
                }
                State::BodyUntilEnd => {
                    body(bytes)?;
                    &[]
                }
                State::ChunkSize | State::ChunkEnd | State::Trailers => self.push_line(bytes)?,
                State::Complete => bail!("{} bytes after the response", bytes.len()),
            };
        }
        Ok(())
    }

    /// Whether the response is complete.
    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The connection has ended without an error, which ends a body of unknown length.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.state {
            State::BodyUntilEnd => self.state = State::Complete,
            State::Complete => {}
            State::Head if self.partial.is_empty() => {
                bail!("the connection ended without a response")
            }
            State::Head => bail!("the connection ended within a head"),
            _ => bail!("the connection ended within a body"),
        }
        Ok(())
    }

    /// The head, once it is complete.
    pub(crate) fn head(&self) -> Option<Head> {
        (self.state != State::Head).then_some(self.head)
    }

    fn push_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let (head, rest) = if self.partial.is_empty()
            && let Some(end) = end_of_head(bytes)
        {
            (parse_head(&bytes[..end])?, &bytes[end..])
        } else {
            let before = self.partial.len();
            self.partial.extend_from_slice(bytes);
            // The end of the head may have begun here; earlier bytes are not searched again.
            let seen = before.saturating_sub(3);
            let Some(end) = end_of_head(&self.partial[seen..]).map(|end| seen + end) else {
                ensure!(self.partial.len() < MAX_HEAD_BYTES, "a head over 64 KiB");
                return Ok(&[]);
            };
            let head = parse_head(&self.partial[..end])?;
            self.partial.clear();
            (head, &bytes[end - before..])
        };
        let framing;
        (self.head, framing) = head;
        self.state = match framing {
            Framing::Length(0) => State::Complete,
            Framing::Length(left) => State::Body { left },
            Framing::Chunked => State::ChunkSize,
            Framing::UntilEnd => State::BodyUntilEnd,
        };
        self.head.closes |= framing == Framing::UntilEnd;
        Ok(rest)
    }

    fn body_went_on(&mut self, left: u64) {
        self.state = match (self.state, left) {
            (State::Body { .. }, 0) => State::Complete,
            (State::Body { .. }, left) => State::Body { left },
            (_, 0) => State::ChunkEnd,
            (_, left) => State::Chunk { left },
        };
    }

    fn push_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8]> {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.partial.extend_from_slice(bytes);
            ensure!(self.partial.len() < MAX_HEAD_BYTES, "a line between chunks over 64 KiB");
            return Ok(&[]);
        };
        let (part, rest) = bytes.split_at(end + 1);
        self.partial.extend_from_slice(part);
        let line = self.partial.strip_suffix(b"\r\n").context("a line without CR")?;
        self.state = match self.state {
            State::ChunkSize => match chunk_size(&self.partial)? {
                0 => State::Trailers,
                left => State::Chunk { left },
            },
            State::ChunkEnd => {
                ensure!(line.is_empty(), "a chunk is longer than its size");
                State::ChunkSize
            }
            _ if line.is_empty() => State::Complete,
            _ => State::Trailers,
        };
        self.partial.clear();
        Ok(rest)
    }
}

fn at_most_usize(left: u64) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX)
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn parse_head(bytes: &[u8]) -> Result<(Head, Framing)> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let status = response.parse(bytes).context("not the head of an HTTP/1 response")?;
    ensure!(status.is_complete(), "not the head of an HTTP/1 response");
    let is_http11 = response.version == Some(1);
    let status = response.code.context("a response without a status")?;
    // HTTP/1.0 without `keep-alive`, which the client does not request.
    let mut head = Head { status, is_http11, closes: !is_http11 };
    let mut length = None;
    let mut chunked = false;
    for httparse::Header { name, value } in response.headers {
        let value = value.trim_ascii();
        if name.eq_ignore_ascii_case("content-length") {
            let text = std::str::from_utf8(value)?;
            let value = text.parse().with_context(|| format!("Content-Length: {text}"))?;
            ensure!(length.is_none_or(|before| before == value), "two different lengths");
            length = Some(value);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            ensure!(value.eq_ignore_ascii_case(b"chunked"), "a transfer coding other than chunked");
            chunked = true;
        } else if name.eq_ignore_ascii_case("connection") {
            let mut options = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
            head.closes |= options.any(|option| option.eq_ignore_ascii_case(b"close"));
        }
    }
    Ok((head, framing(chunked, length)?))
}

fn framing(chunked: bool, length: Option<u64>) -> Result<Framing> {
    Ok(match (chunked, length) {
        (true, None) => Framing::Chunked,
        (true, Some(_)) => bail!("a length in addition to chunks"),
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilEnd,
    })
}

/// Reads the size from the line before a chunk, with its CRLF.
fn chunk_size(line: &[u8]) -> Result<u64> {
    match httparse::parse_chunk_size(line) {
        Ok(httparse::Status::Complete((_, size))) => Ok(size),
        _ => bail!("not a chunk's size: {}", line.escape_ascii()),
    }
}

#[cfg(test)]
mod tests;
