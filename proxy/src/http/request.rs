//! A request's target, normalised once for everything behind.

use std::borrow::Cow;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Version, header,
    request::Parts,
    uri::{PathAndQuery, Scheme},
};

use super::{
    authority::{Authority, AuthorityError},
    path::{self, PathError},
    spec::{EscapedSlashes, Settings, Underscores},
};

/// What a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Normalised {
    /// The authority as the client wrote it.
    pub authority: HeaderValue,
    /// Its host in the one form in which hosts are compared.
    pub host: Box<str>,
    /// Its port, where one was named.
    pub port: Option<u16>,
    /// The normalised path with the query as the client wrote it.
    pub target: PathAndQuery,
}

impl Normalised {
    /// The normalised path.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The query without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }
}

/// What is wrong with a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No Host header and no authority.
    MissingHost,
    /// More than one Host header (RFC 9112 section 3.2).
    SeveralHosts,
    /// Host says another name than the target (absolute-form) or `:authority`.
    HostMismatch,
    /// No host, or no port, that we take.
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
    /// More header fields than allowed.
    TooManyHeaders,
    /// HTTP/1.0 with Transfer-Encoding (RFC 9112 section 6.1).
    TransferEncodingInHttp10,
    /// CONNECT: we are no tunnel.
    Connect,
    /// An upgrade with a body: where it ends and the new protocol begins can be read in two ways.
    UpgradeWithBody,
    /// A rewrite rule made a path with a dot segment from this request's.
    RewrittenPath,
}

/// Why a request goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// Its head is at fault.
    Fault(Fault),
    /// Its path had escaped slashes: the client is to ask for this instead.
    Elsewhere(Box<Normalised>),
}

impl From<Fault> for Rejection {
    fn from(fault: Fault) -> Rejection {
        Rejection::Fault(fault)
    }
}

/// Checks a request's head and says what it is for.
///
/// Changes the head in one way: where the settings say so, header names with `_` are removed.
pub fn normalise(parts: &mut Parts, settings: &Settings) -> Result<Normalised, Rejection> {
    if parts.method == Method::CONNECT {
        return Err(Fault::Connect.into());
    }
    check_headers(parts, settings)?;
    let (authority, Authority { host, port }) = authority(parts)?;
    let (target, unescaped) = target(parts, settings)?;
    let normal = Normalised { authority, host, port, target };
    if unescaped && settings.escaped_slashes == EscapedSlashes::Redirect {
        return Err(Rejection::Elsewhere(Box::new(normal)));
    }
    Ok(normal)
}

fn check_headers(parts: &mut Parts, settings: &Settings) -> Result<(), Fault> {
    if parts.headers.len() > settings.max_headers {
        return Err(Fault::TooManyHeaders);
    }
    // hyper's parser refuses this too; the rule is too important to stand in one place only.
    if parts.version <= Version::HTTP_10 && parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Fault::TransferEncodingInHttp10);
    }
    match settings.underscores {
        Underscores::Allow => Ok(()),
        Underscores::Reject if has_underscore(&parts.headers) => Err(Fault::Underscore),
        Underscores::Reject => Ok(()),
        Underscores::Drop => {
            drop_underscores(&mut parts.headers);
            Ok(())
        }
    }
}

fn has_underscore(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().contains('_'))
}

pub(super) fn drop_underscores(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| name.as_str().contains('_')).cloned() {
        headers.remove(name);
    }
}

/// The authority as written, and read.
fn authority(parts: &Parts) -> Result<(HeaderValue, Authority), Fault> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Fault::SeveralHosts);
    }
    let Some(target) = parts.uri.authority() else {
        let host = host.ok_or(Fault::MissingHost)?;
        return Ok((host.clone(), read_host(host)?));
    };
    let authority = parse(target.as_str())?;
    let scheme = parts.uri.scheme();
    if scheme.is_some_and(|scheme| *scheme != Scheme::HTTP && *scheme != Scheme::HTTPS) {
        return Err(Fault::BadScheme);
    }
    match host {
        // HTTP/2 needs no Host beside `:authority`; HTTP/1.1 does, in absolute-form too.
        None if parts.version < Version::HTTP_2 => return Err(Fault::MissingHost),
        Some(host) if !same(&read_host(host)?, &authority, scheme) => {
            return Err(Fault::HostMismatch);
        }
        _ => {}
    }
    let written = HeaderValue::from_str(target.as_str()).map_err(|_| Fault::BadAuthority)?;
    Ok((written, authority))
}

fn read_host(host: &HeaderValue) -> Result<Authority, Fault> {
    parse(host.to_str().map_err(|_| Fault::BadAuthority)?)
}

fn parse(text: &str) -> Result<Authority, Fault> {
    Authority::parse(text).map_err(|error| match error {
        AuthorityError::UserInfo => Fault::UserInfo,
        AuthorityError::Malformed => Fault::BadAuthority,
    })
}

/// Whether two authorities are one, where a missing port stands for the scheme's own.
fn same(a: &Authority, b: &Authority, scheme: Option<&Scheme>) -> bool {
    let default = if scheme == Some(&Scheme::HTTP) { 80 } else { 443 };
    a.host == b.host && a.port.unwrap_or(default) == b.port.unwrap_or(default)
}

/// The normalised target, and whether slashes were unescaped for it.
fn target(parts: &Parts, settings: &Settings) -> Result<(PathAndQuery, bool), Fault> {
    let written = parts.uri.path_and_query().ok_or(Fault::BadPath)?;
    let normal = path::normalise(written.path(), settings).map_err(|error| match error {
        PathError::EscapedSlash => Fault::EscapedSlashes,
        PathError::NotAbsolute | PathError::BadEscape => Fault::BadPath,
    })?;
    let target = match &normal.path {
        Cow::Borrowed(_) if written.as_str().starts_with('/') => written.clone(),
        path => join(path, written.query()).ok_or(Fault::BadPath)?,
    };
    Ok((target, normal.unescaped))
}

/// A path and a query as one; `None` where they do not make a target.
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
