//! The matcher of a route: `from`, and `prefix`, `path` or `regex`.

use std::sync::Arc;

use regex::Regex;

use super::{super::section::Section, inspect::any_on, rewrite, url};
use crate::route::{HostMatch, Matcher, PathMatch, PortMatch, WildcardHost};

/// Settings of the listener that say what a route's `from` means.
#[derive(Debug, Clone, Copy)]
pub(super) struct ListenerTraits {
    /// A route without a port serves every port.
    pub(super) any_port: bool,
    /// `address` is served without TLS.
    pub(super) is_plain: bool,
}

/// Reads the matcher of a route; `None` after a reported error.
pub(super) fn matcher(route: &Section<'_>, listener: ListenerTraits) -> Option<Matcher> {
    let path = path(route);
    let (host, port) = host_and_port(route, listener)?;
    Some(Matcher { host, port, path: path? })
}

/// The same for a route whose keys for paths are those of another route.
pub(super) fn matcher_with_path_of(
    other: &Matcher,
    route: &Section<'_>,
    listener: ListenerTraits,
) -> Option<Matcher> {
    let (host, port) = host_and_port(route, listener)?;
    Some(Matcher { host, port, path: other.path.clone() })
}

fn host_and_port(route: &Section<'_>, listener: ListenerTraits) -> Option<(HostMatch, PortMatch)> {
    let url = from(route)?;
    if url.scheme == "http" && !listener.is_plain {
        let message = "the route is served over HTTPS, as every route";
        route.warn_with_hint(
            "from",
            message,
            "write https; http_redirect_addr redirects from HTTP",
        );
    }
    let port = match url.port {
        Some(port) => PortMatch::Is(port),
        None if listener.any_port || url.scheme == "http" => PortMatch::Any,
        None => PortMatch::Is(443),
    };
    Some((host(&url.host)?, port))
}

fn from(route: &Section<'_>) -> Option<url::Url> {
    let Some(text) = route.text("from") else {
        if !route.has("from") {
            route.error_with_hint("from", "is missing", "write from: https://app.example.com");
        }
        return None;
    };
    let url = match url::parse(&text) {
        Ok(url) => url,
        Err(problem) => {
            let hint = "write from: https://app.example.com";
            route.error_with_hint("from", format!("bad source url: {problem}"), hint);
            return None;
        }
    };
    if !served_scheme(route, &url) {
        return None;
    }
    if !url.path.is_empty() && url.path != "/" {
        let message = format!(
            "source url ({text}) contains a path, but it should be set using the path field instead"
        );
        route.error("from", message);
        return None;
    }
    if url.host.is_empty() {
        route.error("from", "bad source url: it has no host");
        return None;
    }
    Some(url)
}

fn served_scheme(route: &Section<'_>, url: &url::Url) -> bool {
    match url.scheme.as_str() {
        "https" | "http" => true,
        "tcp+https" | "udp+https" | "ssh" => {
            route.error("from", format!("{} routes are not supported yet", url.scheme));
            false
        }
        other => {
            let message = format!("bad source url: `{other}` is not a supported scheme");
            route.error_with_hint("from", message, "use https");
            false
        }
    }
}

fn host(host: &str) -> Option<HostMatch> {
    if !host.contains('*') {
        return Some(HostMatch::Exact(host.into()));
    }
    let parts: Vec<String> = host.split('*').map(regex::escape).collect();
    let regex = Regex::new(&format!("\\A{}\\z", parts.join("(.*)"))).ok()?;
    Some(HostMatch::Wildcard(WildcardHost { pattern: host.into(), regex }))
}

/// One of the three keys; of several, Pomerium uses the most specific.
fn path(route: &Section<'_>) -> Option<PathMatch> {
    let order = ["regex", "path", "prefix"];
    let mut given = order.into_iter().filter(|key| any_on(route, &[key]));
    let Some(winner) = given.next() else { return Some(PathMatch::Any) };
    for loser in given {
        route.warn(loser, format!("has no effect: `{winner}` wins"));
    }
    let text = route.text(winner)?;
    match winner {
        "regex" => anchored(route, &text).map(PathMatch::Regex),
        "path" => literal(route, winner, &text).map(PathMatch::Exact),
        _ => literal(route, winner, &text).map(PathMatch::Prefix),
    }
}

/// Compiles the expression alone first: `a)|(b` would break out of the group around it.
fn anchored(route: &Section<'_>, pattern: &str) -> Option<Regex> {
    rewrite::regex(route, "regex", pattern)?;
    rewrite::regex(route, "regex", &format!("\\A(?:{pattern})\\z"))
}

fn literal(route: &Section<'_>, key: &str, text: &str) -> Option<Arc<str>> {
    if text.starts_with('/') && !text.contains(['?', '#']) {
        return Some(text.into());
    }
    let message = format!("`{}` matches no path", text.escape_debug());
    route.error_with_hint(key, message, "paths begin with / and are matched without their query");
    None
}
