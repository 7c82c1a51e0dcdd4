//! Finds the route of a request. Pure: no I/O, clock, randomness or log.

mod hosts;
mod table;

pub(crate) use hosts::HostMap;
pub use table::Table;
pub(crate) use table::{Mismatch, TriedRoute};

use std::{fmt, sync::Arc};

use regex::Regex;

/// The conditions under which a request belongs to a route.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The host, without its port.
    pub host: HostMatch,
    /// The port the client asked for.
    pub port: PortMatch,
    /// The normalised path, without its query.
    pub path: PathMatch,
}

impl fmt::Display for Matcher {
    /// As a URL, for logs and status.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostMatch::Exact(host) if host.contains(':') => write!(f, "https://[{host}]")?,
            HostMatch::Exact(host) => write!(f, "https://{host}")?,
            HostMatch::Wildcard(wildcard) => write!(f, "https://{}", wildcard.pattern)?,
        }
        if let PortMatch::Is(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.path {
            PathMatch::Any => Ok(()),
            PathMatch::Prefix(prefix) => write!(f, "{prefix}*"),
            PathMatch::Exact(path) => f.write_str(path),
            PathMatch::Regex(regex) => write!(f, " ~ {regex}"),
        }
    }
}

/// How a host is matched. Hosts are compared in the form `http::request` normalises to: lower
/// case, no trailing dot, no port, IPv6 without brackets.
#[derive(Debug, Clone, PartialEq)]
pub enum HostMatch {
    /// Only this host.
    Exact(Arc<str>),
    /// A host with `*` in it: each star stands for any run of characters, dots included.
    Wildcard(WildcardHost),
}

/// A host pattern with at least one `*`.
#[derive(Debug, Clone)]
pub struct WildcardHost {
    /// As written, lower case: `*.example.com`.
    pub pattern: Box<str>,
    /// The same as an expression anchored at both ends.
    pub regex: Regex,
}

impl PartialEq for WildcardHost {
    fn eq(&self, other: &WildcardHost) -> bool {
        self.pattern == other.pattern
    }
}

/// How the port of the request's authority is matched; an authority without one counts as 443.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortMatch {
    /// Any port.
    Any,
    /// Only this port.
    Is(u16),
}

/// How a path is matched.
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Every path.
    Any,
    /// Paths that begin with these characters, not only at a segment boundary.
    Prefix(Arc<str>),
    /// Only this path.
    Exact(Arc<str>),
    /// Paths that match an expression anchored at both ends.
    Regex(Regex),
}

impl PartialEq for PathMatch {
    fn eq(&self, other: &PathMatch) -> bool {
        match (self, other) {
            (PathMatch::Any, PathMatch::Any) => true,
            (PathMatch::Prefix(one), PathMatch::Prefix(other))
            | (PathMatch::Exact(one), PathMatch::Exact(other)) => one == other,
            (PathMatch::Regex(one), PathMatch::Regex(other)) => one.as_str() == other.as_str(),
            _ => false,
        }
    }
}
