//! HTTP/1 messages as the tests' own peers see them: names and values are not normalised.

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: String,
    /// The target in the request line, unchanged.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Names and values in their order and case.
    pub headers: Vec<(String, String)>,
}

/// A response whose body is not decoded.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// Names and values in their order and case.
    pub headers: Vec<(String, String)>,
    /// Everything after the head.
    pub body: Vec<u8>,
}

impl RequestHead {
    /// Reads a head that ends with an empty line; `None` if it is not a request.
    pub fn parse(text: &str) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut request = httparse::Request::new(&mut fields);
        request.parse(text.as_bytes()).ok()?;
        Some(Self {
            method: request.method?.to_owned(),
            target: request.path?.to_owned(),
            version: format!("HTTP/1.{}", request.version?),
            headers: owned(request.headers),
        })
    }

    /// The values of a header, whatever its case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).first().copied()
    }
}

impl Response {
    /// Reads a response; `None` if its head is incomplete or it is not a response.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(head) = response.parse(bytes).ok()? else { return None };
        Some(Self {
            version: format!("HTTP/1.{}", response.version?),
            status: response.code?,
            headers: owned(response.headers),
            body: bytes[head..].to_vec(),
        })
    }

    /// The first value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        values(&self.headers, name).first().copied()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The maximum number of fields in a test's message.
const MAX_FIELDS: usize = 512;

fn owned(fields: &[httparse::Header<'_>]) -> Vec<(String, String)> {
    let text = |value| String::from_utf8_lossy(value).into_owned();
    fields.iter().map(|field| (field.name.to_owned(), text(field.value))).collect()
}

/// Reads header lines, each ending with CRLF; lines that are not fields are skipped.
pub fn parse_headers(text: &str) -> Vec<(String, String)> {
    text.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// The values of a header, whatever its case.
pub fn values<'a>(headers: &'a [(String, String)], name: &str) -> Vec<&'a str> {
    headers
        .iter()
        .filter(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}
