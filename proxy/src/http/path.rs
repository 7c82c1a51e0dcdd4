//! The normal form of paths, so that routing, policy and the upstream see the same one.

use std::borrow::Cow;

use super::spec::{EscapedSlashes, RequestSettings};

/// A path in its normal form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NormalPath<'a> {
    /// Begins with `/`.
    pub(crate) path: Cow<'a, str>,
    /// Slashes were unescaped.
    pub(crate) unescaped: bool,
}

/// Why a path has no normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathError {
    /// It does not begin with `/`.
    NotAbsolute,
    /// It has an escaped slash or backslash, and the settings reject these.
    EscapedSlash,
    /// A `%` without two hexadecimal digits, or a NUL, escaped or not.
    BadEscape,
}

/// Brings a path (without its query) to its normal form.
///
/// The order is Envoy's: escaped slashes, then RFC 3986 normalisation (backslashes become slashes,
/// escapes of unreserved characters are decoded, dot segments resolved, never above the root), then
/// repeated slashes. Unlike Envoy, a malformed escape is refused: decoding around it could make a
/// new escape (`%%32e`), so that the result would not be normal.
pub(crate) fn normalise<'a>(
    path: &'a str,
    settings: &RequestSettings,
) -> Result<NormalPath<'a>, PathError> {
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_plain(path) {
        return Ok(NormalPath { path: Cow::Borrowed(path), unescaped: false });
    }
    let (mut path, unescaped) = treat_escaped_slashes(path, settings)?;
    if settings.normalize_path {
        let canonical = canonical_characters(&path)?;
        path = Cow::Owned(remove_dot_segments(&canonical));
    }
    if settings.merge_slashes && path.contains("//") {
        path = Cow::Owned(merge_slashes(&path));
    }
    Ok(NormalPath { path, unescaped })
}

/// Whether a path has a segment `.` or `..`, escaped or not.
pub(crate) fn has_dot_segment(path: &str) -> bool {
    path.split(['/', '\\']).any(|segment| {
        let mut rest = segment;
        let mut dots = 0;
        while let Some(next) = strip_dot(rest) {
            rest = next;
            dots += 1;
        }
        rest.is_empty() && (dots == 1 || dots == 2)
    })
}

fn strip_dot(text: &str) -> Option<&str> {
    text.strip_prefix('.').or_else(|| text.strip_prefix("%2e")).or_else(|| text.strip_prefix("%2E"))
}

/// Whether normalisation leaves the path unchanged under any settings: the ordinary case, seen
/// in one scan. It may say no to a normal path, never yes to another.
fn is_plain(path: &str) -> bool {
    let mut after_slash = false;
    for byte in path.bytes() {
        let special = match byte {
            b'/' | b'.' => after_slash,
            b'%' | b'\\' => true,
            other => must_escape(other),
        };
        if special {
            return false;
        }
        after_slash = byte == b'/';
    }
    true
}

/// Finds `%2F` and `%5C` (either case) and does what the settings say; refuses NUL and `%00` in any case.
fn treat_escaped_slashes<'a>(
    path: &'a str,
    settings: &RequestSettings,
) -> Result<(Cow<'a, str>, bool), PathError> {
    let unescape = match settings.escaped_slashes {
        EscapedSlashes::Redirect | EscapedSlashes::Unescape => true,
        EscapedSlashes::Reject | EscapedSlashes::Keep => false,
    };
    if path.contains('\0') {
        return Err(PathError::BadEscape);
    }
    let mut out: Option<String> = None;
    let mut copied = 0;
    for (at, _) in path.match_indices('%') {
        let slash = match escape_at(path, at) {
            Some(0) => return Err(PathError::BadEscape),
            Some(b'/') => '/',
            Some(b'\\') => '\\',
            _ => continue,
        };
        if settings.escaped_slashes == EscapedSlashes::Reject {
            return Err(PathError::EscapedSlash);
        }
        if unescape {
            let out = out.get_or_insert_with(|| String::with_capacity(path.len()));
            out.push_str(path.get(copied..at).unwrap_or_default());
            out.push(slash);
            copied = at + 3;
        }
    }
    Ok(match out {
        None => (Cow::Borrowed(path), false),
        Some(mut out) => {
            out.push_str(path.get(copied..).unwrap_or_default());
            (Cow::Owned(out), true)
        }
    })
}

/// Decodes escapes of unreserved characters, turns backslashes into slashes, and escapes what a
/// path may not hold.
fn canonical_characters(path: &str) -> Result<String, PathError> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'%' => {
                let decoded = escape_at(path, at).ok_or(PathError::BadEscape)?;
                bytes.nth(1); // the two digits
                if is_unreserved(decoded) {
                    out.push(char::from(decoded));
                } else {
                    out.push_str(path.get(at..at + 3).unwrap_or_default());
                }
            }
            b'\\' => out.push('/'),
            other if must_escape(other) => push_escape(&mut out, other),
            other => out.push(char::from(other)),
        }
    }
    Ok(out)
}

/// RFC 3986 section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut ends_in_dots = false;
    for segment in path.split('/').skip(1) {
        ends_in_dots = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => out.truncate(out.rfind('/').unwrap_or(0)),
            _ => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if ends_in_dots {
        out.push('/');
    }
    out
}

fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for character in path.chars() {
        if character != '/' || !out.ends_with('/') {
            out.push(character);
        }
    }
    out
}

/// The byte that the escape at `at` stands for.
fn escape_at(path: &str, at: usize) -> Option<u8> {
    let digits = path.as_bytes().get(at + 1..at + 3)?;
    let [high, low] = digits else { return None };
    Some(hex(*high)? << 4 | hex(*low)?)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Characters that the URL standard's path percent-encode set escapes.
fn must_escape(byte: u8) -> bool {
    byte <= b' '
        || byte >= 0x7f
        || matches!(byte, b'"' | b'#' | b'<' | b'>' | b'?' | b'^' | b'`' | b'{' | b'}')
}

#[cfg(test)]
mod tests;
