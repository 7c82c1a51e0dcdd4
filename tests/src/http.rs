//! HTTP/1 messages as the tests' own peers see them: nothing is normalised or judged.

/// The head of a request.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: String,
    /// The target as it stands in the request line.
    pub target: String,
    /// `HTTP/1.1`, or what else stands there.
    pub version: String,
    /// Names and values in their order and case.
    pub headers: Vec<(String, String)>,
}

/// A response, its body still as it came.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// `HTTP/1.1`, or what else stands there.
    pub version: String,
    /// Names and values in their order and case.
    pub headers: Vec<(String, String)>,
    /// Everything after the head.
    pub body: Vec<u8>,
}

impl RequestHead {
    /// Reads a head that ends with an empty line.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, rest) = text.split_once("\r\n")?;
        let mut words = first.split(' ');
        Some(Self {
            method: words.next()?.to_owned(),
            target: words.next()?.to_owned(),
            version: words.next()?.to_owned(),
            headers: parse_headers(rest),
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
    /// Reads a response with a whole head; `None` while it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let (first, rest) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = first.split(' ');
        Some(Self {
            version: words.next()?.to_owned(),
            status: words.next()?.parse().ok()?,
            headers: parse_headers(rest),
            body: bytes[end + 4..].to_vec(),
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

/// Reads header lines, each ending with CRLF.
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
