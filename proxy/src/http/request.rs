//! A request's target, normalised once for everything that reads it.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};

use super::{
    authority::{Authority, AuthorityError},
    headers::is_plain,
    path::{self, PathError},
    spec::{EscapedSlashes, RequestSettings, Underscores},
};
use crate::fields::{TransferCodings, remove_where, transfer_codings, trim_values};

/// The target of a request (RFC 9112 section 3.2), normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestTarget {
    /// The authority as the client wrote it.
    pub authority: HeaderValue,
    /// Its host, in the form in which hosts are compared.
    pub host: Box<str>,
    /// Its port; `None` if none is given.
    pub port: Option<u16>,
    /// The normalised path with the query as the client wrote it.
    pub path_and_query: PathAndQuery,
}

impl RequestTarget {
    /// The normalised path.
    pub(crate) fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The query without its question mark.
    pub(crate) fn query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

/// Why a request's head is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum InvalidRequest {
    /// No Host header and no authority.
    MissingHost,
    /// More than one Host header (RFC 9112 section 3.2).
    SeveralHosts,
    /// Host says another name than the target (absolute-form) or `:authority`.
    HostMismatch,
    /// A malformed host or port.
    BadAuthority,
    /// User information in the authority.
    UserInfo,
    /// A scheme that is neither `http` nor `https`.
    BadScheme,
    /// A path that has no normal form.
    BadPath,
    /// `%2F` or `%5C` in the path.
    EscapedSlashes,
    /// A header name with `_`.
    Underscore,
    /// A header name with another character than letters, digits, `-` and `_`.
    OddHeaderName,
    /// More header fields than allowed.
    TooManyHeaders,
    /// HTTP/1.0 with Transfer-Encoding (RFC 9112 section 6.1).
    TransferEncodingInHttp10,
    /// A transfer coding other than `chunked` (RFC 9112 section 6.1).
    TransferCoding,
    /// The coding `chunked` more than once (RFC 9112 section 7.1).
    ChunkedAgain,
    /// CONNECT, which is not supported.
    Connect,
    /// `Max-Forwards` that is no number, where it must be obeyed (RFC 9110 section 7.6.2).
    MaxForwards,
    /// `Expect` on a stream of HTTP/2 that is not known, so that no 100 can be sent.
    Expectation,
    /// A rewrite rule turned the path into one with a dot segment.
    RewrittenPath,
    /// Rewriting the path would take too long.
    RewriteTooLong,
}

/// Why a request cannot be routed as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NormalizeError {
    /// Its head is invalid.
    Invalid(InvalidRequest),
    /// Its path had escaped slashes: the client is to be redirected to this target.
    Redirect(Box<RequestTarget>),
}

impl From<InvalidRequest> for NormalizeError {
    fn from(fault: InvalidRequest) -> NormalizeError {
        NormalizeError::Invalid(fault)
    }
}

/// Checks a request's head, and normalises its target.
///
/// Changes the head in two ways: values lose the white space around them, and if the settings say so,
/// header names with unusual characters are removed.
pub(crate) fn normalise(
    parts: &mut Parts,
    settings: &RequestSettings,
) -> Result<RequestTarget, NormalizeError> {
    if parts.method == Method::CONNECT {
        return Err(InvalidRequest::Connect.into());
    }
    check_headers(parts, settings)?;
    let (authority, Authority { host, port }) = authority(parts)?;
    let (path_and_query, unescaped) = path_and_query(parts, settings)?;
    let target = RequestTarget { authority, host, port, path_and_query };
    if unescaped && settings.escaped_slashes == EscapedSlashes::Redirect {
        return Err(NormalizeError::Redirect(Box::new(target)));
    }
    Ok(target)
}

fn check_headers(parts: &mut Parts, settings: &RequestSettings) -> Result<(), InvalidRequest> {
    if parts.headers.len() > settings.max_headers
        && without_crumbs(&parts.headers) > settings.max_headers
    {
        return Err(InvalidRequest::TooManyHeaders);
    }
    // hyper's parser refuses this too; the rule is too important to depend on one place.
    if parts.version <= Version::HTTP_10 && parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(InvalidRequest::TransferEncodingInHttp10);
    }
    match transfer_codings(&parts.headers) {
        TransferCodings::None | TransferCodings::Chunked => {}
        TransferCodings::ChunkedAgain => return Err(InvalidRequest::ChunkedAgain),
        TransferCodings::Identity | TransferCodings::Other => {
            return Err(InvalidRequest::TransferCoding);
        }
    }
    // The parser of HTTP/1 has done it.
    if parts.version == Version::HTTP_2 {
        trim_values(&mut parts.headers);
    }
    treat_odd_names(&mut parts.headers, settings.underscores)
}

/// How many fields there are, with `Cookie` as one: HTTP/2 clients may send each cookie in a field of
/// its own (RFC 9113 section 8.2.3).
fn without_crumbs(headers: &HeaderMap) -> usize {
    let crumbs = headers.get_all(header::COOKIE).iter().count();
    headers.len() - crumbs.saturating_sub(1)
}

fn treat_odd_names(headers: &mut HeaderMap, action: Underscores) -> Result<(), InvalidRequest> {
    let is_odd = |name: &&HeaderName| !is_plain(name.as_str());
    match action {
        Underscores::Allow => Ok(()),
        Underscores::Reject => match headers.keys().find(is_odd) {
            None => Ok(()),
            Some(name) if name.as_str().contains('_') => Err(InvalidRequest::Underscore),
            Some(_) => Err(InvalidRequest::OddHeaderName),
        },
        Underscores::Drop => {
            drop_odd_names(headers);
            Ok(())
        }
    }
}

/// Removes fields whose names have other characters than letters, digits and `-`.
pub(super) fn drop_odd_names(headers: &mut HeaderMap) {
    remove_where(headers, |name| !is_plain(name.as_str()));
}

/// The authority as written, and read.
fn authority(parts: &Parts) -> Result<(HeaderValue, Authority), InvalidRequest> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(InvalidRequest::SeveralHosts);
    }
    let Some(target) = parts.uri.authority() else {
        let host = host.ok_or(InvalidRequest::MissingHost)?;
        return Ok((without_empty_port(host.clone()), read_host(host)?));
    };
    let authority = parse(target.as_str())?;
    let scheme = parts.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(InvalidRequest::BadScheme);
    }
    match host {
        // HTTP/2 needs no Host beside `:authority`; HTTP/1.1 does, in absolute-form too.
        None if parts.version < Version::HTTP_2 => return Err(InvalidRequest::MissingHost),
        Some(host) if !same(&read_host(host)?, &authority, scheme) => {
            return Err(InvalidRequest::HostMismatch);
        }
        _ => {}
    }
    let written =
        HeaderValue::from_str(target.as_str()).map_err(|_| InvalidRequest::BadAuthority)?;
    Ok((without_empty_port(written), authority))
}

/// A port may be empty, which is the same as none (RFC 3986 section 6.2.3); few servers know it.
fn without_empty_port(authority: HeaderValue) -> HeaderValue {
    let shorter = authority.as_bytes().strip_suffix(b":").map(HeaderValue::from_bytes);
    shorter.and_then(Result::ok).unwrap_or(authority)
}

fn read_host(host: &HeaderValue) -> Result<Authority, InvalidRequest> {
    parse(host.to_str().map_err(|_| InvalidRequest::BadAuthority)?)
}

fn parse(text: &str) -> Result<Authority, InvalidRequest> {
    Authority::parse(text).map_err(|error| match error {
        AuthorityError::UserInfo => InvalidRequest::UserInfo,
        AuthorityError::Malformed => InvalidRequest::BadAuthority,
    })
}

/// Whether two authorities are equal, with the scheme's default for a missing port.
fn same(a: &Authority, b: &Authority, scheme: Option<&Scheme>) -> bool {
    let default = if scheme == Some(&Scheme::HTTP) { 80 } else { 443 };
    a.host == b.host && a.port.unwrap_or(default) == b.port.unwrap_or(default)
}

/// The normalised target, and whether slashes were unescaped for it.
fn path_and_query(
    parts: &Parts,
    settings: &RequestSettings,
) -> Result<(PathAndQuery, bool), InvalidRequest> {
    let written = parts.uri.path_and_query().ok_or(InvalidRequest::BadPath)?;
    let normal = path::normalise(written.path(), settings).map_err(|error| match error {
        PathError::EscapedSlash => InvalidRequest::EscapedSlashes,
        PathError::NotAbsolute | PathError::BadEscape => InvalidRequest::BadPath,
    })?;
    let target = match &normal.path {
        Cow::Borrowed(_) if written.as_str().starts_with('/') => written.clone(),
        path => join(path, written.query()).ok_or(InvalidRequest::BadPath)?,
    };
    Ok((target, normal.unescaped))
}

/// A path and a query as one; `None` if they make no valid target.
pub(super) fn join(path: &str, query: Option<&str>) -> Option<PathAndQuery> {
    let mut text = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
    text.push_str(path);
    if let Some(query) = query {
        text.push('?');
        text.push_str(query);
    }
    PathAndQuery::from_maybe_shared(Bytes::from(text)).ok()
}

#[cfg(test)]
mod tests;
