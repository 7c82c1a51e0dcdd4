//! Rewriting the path and the host for an upstream.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use regex::{Captures, Replacer};

use super::{
    authority::Authority,
    path,
    request::{InvalidRequest, RequestTarget, join},
    spec::{HostRewrite, PathRewrite, RegexRewrite},
};
use crate::route::PathMatch;

/// The longest path in which an expression is looked for, in bytes. nginx's limit for a whole URI.
const MAX_SEARCHED_BYTES: usize = 8 << 10;
/// The most matches that are replaced in one path. Each may cost a search to the end of the path
/// (`x.*?y|x`), so this bounds the time.
const MAX_MATCHES: usize = 128;

/// The target of the upstream's request.
///
/// Rewriting must not undo normalisation: `/files` to `/srv/` would turn `/files../x` into
/// `/srv/../x`. Such a request is rejected.
pub(crate) fn target(
    original: &RequestTarget,
    matched: &PathMatch,
    rewrite: &PathRewrite,
) -> Result<PathAndQuery, InvalidRequest> {
    let rewritten = match rewrite {
        PathRewrite::Keep => return Ok(original.path_and_query.clone()),
        PathRewrite::Prefix(prefix) => replace_match(original.path(), matched, prefix),
        PathRewrite::Regex(rewrite) => match replace(rewrite, original.path())? {
            Cow::Borrowed(_) => return Ok(original.path_and_query.clone()),
            Cow::Owned(rewritten) => rewritten,
        },
    };
    let rewritten = rooted(rewritten);
    // Only a substitution can bring a query.
    let (rewritten, query) = match rewritten.split_once('?') {
        None => (&*rewritten, None),
        Some((path, query)) => (path, Some(query)),
    };
    if path::has_dot_segment(rewritten) && !path::has_dot_segment(original.path()) {
        return Err(InvalidRequest::RewrittenPath);
    }
    let query = both(query, original.query());
    join(rewritten, query.as_deref()).ok_or(InvalidRequest::RewrittenPath)
}

/// The query of a substitution, and that of the request behind it.
fn both<'a>(first: Option<&'a str>, second: Option<&'a str>) -> Option<Cow<'a, str>> {
    match (first, second) {
        (None | Some(""), query) | (query, None | Some("")) => query.map(Cow::Borrowed),
        (Some(first), Some(second)) => Some(Cow::Owned(format!("{first}&{second}"))),
    }
}

/// The path with every match replaced.
///
/// # Errors
/// The work would be too much.
fn replace<'p>(
    RegexRewrite { pattern, substitution }: &RegexRewrite,
    path: &'p str,
) -> Result<Cow<'p, str>, InvalidRequest> {
    if path.len() > MAX_SEARCHED_BYTES {
        return Err(InvalidRequest::RewriteTooLong);
    }
    let mut counted = CountedSubstitution { substitution, matches: 0 };
    let replaced = pattern.replacen(path, MAX_MATCHES + 1, counted.by_ref());
    match counted.matches > MAX_MATCHES {
        true => Err(InvalidRequest::RewriteTooLong),
        false => Ok(replaced),
    }
}

/// A substitution that counts the matches that it replaces.
struct CountedSubstitution<'s> {
    substitution: &'s str,
    matches: usize,
}

impl Replacer for CountedSubstitution<'_> {
    fn replace_append(&mut self, captures: &Captures<'_>, out: &mut String) {
        self.matches += 1;
        captures.expand(self.substitution, out);
    }
}

/// The path with the part replaced that the route matched: a prefix, a whole exact path, or else the
/// leading slash.
pub(super) fn replace_match(path: &str, matched: &PathMatch, replacement: &str) -> String {
    let rest = match matched {
        PathMatch::Prefix(prefix) => path.strip_prefix(&**prefix),
        PathMatch::Exact(exact) => path.strip_prefix(&**exact),
        PathMatch::Any | PathMatch::Regex(_) => path.strip_prefix('/'),
    };
    format!("{replacement}{}", rest.unwrap_or(path))
}

fn rooted(path: String) -> String {
    if path.starts_with('/') { path } else { format!("/{path}") }
}

/// The Host for the upstream; `None` keeps the client's.
///
/// # Errors
/// The client's part of it makes it none.
pub(crate) fn host(
    original: &RequestTarget,
    headers: &HeaderMap,
    rewrite: &HostRewrite,
    upstream: Option<&HeaderValue>,
) -> Result<Option<HeaderValue>, InvalidRequest> {
    match rewrite {
        HostRewrite::Upstream => Ok(upstream.cloned()),
        HostRewrite::Preserve => Ok(None),
        HostRewrite::Literal(value) => Ok(Some(value.clone())),
        HostRewrite::Header(name) => {
            let value = headers.get(name).filter(|value| !value.is_empty());
            value.map(|value| valid_host(value.clone())).transpose()
        }
        HostRewrite::PathRegex(rewrite) => {
            let host = replace(rewrite, original.path())?;
            let host = HeaderValue::from_str(&host).map_err(|_| InvalidRequest::BadAuthority)?;
            valid_host(host).map(Some)
        }
    }
}

fn valid_host(value: HeaderValue) -> Result<HeaderValue, InvalidRequest> {
    match value.to_str().map(Authority::parse) {
        Ok(Ok(_)) => Ok(value),
        _ => Err(InvalidRequest::BadAuthority),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    fn original(target: &str) -> RequestTarget {
        RequestTarget {
            authority: HeaderValue::from_static("App.example:8443"),
            host: "app.example".into(),
            port: Some(8443),
            path_and_query: target.parse().unwrap(),
        }
    }

    fn rewritten(path: &str, matched: &PathMatch, prefix: &str) -> String {
        let rewrite = PathRewrite::Prefix(prefix.into());
        target(&original(path), matched, &rewrite).unwrap().as_str().to_owned()
    }

    #[test]
    fn the_matched_part_gives_way_and_the_query_stays() {
        let prefix = PathMatch::Prefix("/admin".into());
        assert_eq!(rewritten("/admin/y?q=1", &prefix, "/x"), "/x/y?q=1");
        assert_eq!(rewritten("/admin/y", &prefix, "/"), "//y");
        assert_eq!(rewritten("/admin", &prefix, ""), "/");
        assert_eq!(rewritten("/a?q", &PathMatch::Exact("/a".into()), "/b"), "/b?q");
        assert_eq!(rewritten("/a", &PathMatch::Any, "/base/"), "/base/a");
    }

    #[test]
    fn a_rewrite_that_would_climb_is_refused() {
        let rewrite = PathRewrite::Prefix("/srv/".into());
        let matched = PathMatch::Prefix("/files".into());
        assert_eq!(
            target(&original("/files../etc"), &matched, &rewrite),
            Err(InvalidRequest::RewrittenPath)
        );
    }

    #[test]
    fn every_match_of_an_expression_gives_way_in_the_path_alone() {
        let rewrite = regex("/v([0-9])", "/version-${1}");
        let target = target(&original("/v1/v2?x=/v3"), &PathMatch::Any, &rewrite).unwrap();
        assert_eq!(target, "/version-1/version-2?x=/v3");
    }

    fn regex(pattern: &str, substitution: &str) -> PathRewrite {
        let pattern = Regex::new(pattern).unwrap();
        PathRewrite::Regex(RegexRewrite { pattern, substitution: substitution.into() })
    }

    #[test]
    fn a_substitution_with_a_query_joins_the_requests_query() {
        let rewrite = regex("^/v([0-9]+)/(.*)$", "/api/${2}?v=${1}");
        let rewritten = |path| target(&original(path), &PathMatch::Any, &rewrite).unwrap();
        assert_eq!(rewritten("/v1/x"), "/api/x?v=1");
        assert_eq!(rewritten("/v1/x?"), "/api/x?v=1");
        assert_eq!(rewritten("/v1/x?y=2&z"), "/api/x?v=1&y=2&z");
        assert_eq!(rewritten("/v1/x?y=?"), "/api/x?v=1&y=?");
        assert_eq!(rewritten("/other?y=2"), "/other?y=2");
        let empty = regex("^/v1", "/api?");
        let rewritten = target(&original("/v1?y=2"), &PathMatch::Any, &empty).unwrap();
        assert_eq!(rewritten, "/api?y=2");
        let dots = regex("^/v1", "/api?next=/../x");
        assert!(target(&original("/v1"), &PathMatch::Any, &dots).is_ok());
    }

    #[test]
    fn the_work_of_an_expression_is_bounded() {
        let rewrite = regex("x.*?y|x", "z");
        let rewritten = |path: &str| target(&original(path), &PathMatch::Any, &rewrite);
        let matches = |count: usize| format!("/{}", "x".repeat(count));
        assert_eq!(rewritten(&matches(MAX_MATCHES)).unwrap(), *format!("/{}", "z".repeat(128)));
        let too_long = Err(InvalidRequest::RewriteTooLong);
        assert_eq!(rewritten(&matches(MAX_MATCHES + 1)), too_long);
        let path = |bytes: usize| format!("/{}", "a".repeat(bytes - 1));
        assert!(rewritten(&path(MAX_SEARCHED_BYTES)).is_ok());
        assert_eq!(rewritten(&path(MAX_SEARCHED_BYTES + 1)), too_long);
        let host = HostRewrite::PathRegex(RegexRewrite {
            pattern: Regex::new("x").unwrap(),
            substitution: "z".into(),
        });
        let long = original(&matches(MAX_MATCHES + 1));
        let host = host_of(&long, &HeaderMap::new(), &host);
        assert_eq!(host, Err(InvalidRequest::RewriteTooLong));
    }

    fn host_of(
        original: &RequestTarget,
        headers: &HeaderMap,
        rewrite: &HostRewrite,
    ) -> Result<Option<String>, InvalidRequest> {
        let value = host(original, headers, rewrite, None)?;
        Ok(value.map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn a_host_that_the_client_makes_must_be_one() {
        let from_header = HostRewrite::Header(HeaderName::from_static("x-host"));
        let of_header = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-host", HeaderValue::from_static(value));
            host_of(&original("/"), &headers, &from_header)
        };
        assert_eq!(of_header("a_b.example:81"), Ok(Some("a_b.example:81".into())));
        assert_eq!(of_header("[::1]:81"), Ok(Some("[::1]:81".into())));
        let pattern = Regex::new("^/([^/]+)/.*$").unwrap();
        let from_path =
            HostRewrite::PathRegex(RegexRewrite { pattern, substitution: "${1}".into() });
        let of_path = |path| host_of(&original(path), &HeaderMap::new(), &from_path);
        assert_eq!(of_path("/a.example/"), Ok(Some("a.example".into())));
        for bad in ["a b", "a, b", "u@a", "a/b", "a:x", "a%2eb"] {
            assert_eq!(of_header(bad), Err(InvalidRequest::BadAuthority), "{bad}");
        }
        for bad in ["/u@a/", "/a%2eb/", "/", "/a:x/"] {
            assert_eq!(of_path(bad), Err(InvalidRequest::BadAuthority), "{bad}");
        }
    }

    #[test]
    fn the_host_is_chosen_as_the_route_says() {
        let mut headers = HeaderMap::new();
        headers.insert("x-host", HeaderValue::from_static("h.example"));
        let host = |rewrite: HostRewrite| {
            let value = host(
                &original("/t1/x"),
                &headers,
                &rewrite,
                Some(&HeaderValue::from_static("up.example:8080")),
            );
            value.unwrap().map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(host(HostRewrite::Upstream).as_deref(), Some("up.example:8080"));
        assert_eq!(host(HostRewrite::Preserve), None);
        let literal = HostRewrite::Literal(HeaderValue::from_static("l.example"));
        assert_eq!(host(literal).as_deref(), Some("l.example"));
        let header = |name| HostRewrite::Header(HeaderName::from_static(name));
        assert_eq!(host(header("x-host")).as_deref(), Some("h.example"));
        assert_eq!(host(header("x-absent")), None);
        let pattern = Regex::new("^/([^/]+)/.*$").unwrap();
        let from_path =
            HostRewrite::PathRegex(RegexRewrite { pattern, substitution: "${1}.example".into() });
        assert_eq!(host(from_path).as_deref(), Some("t1.example"));
    }

    proptest! {
        #[test]
        fn a_normal_path_stays_without_dot_segments_or_is_refused(
            path in "/[a./]{0,12}",
            matched in prop_oneof![
                "/[a.]{0,3}".prop_map(|p| PathMatch::Prefix(p.into())), Just(PathMatch::Any)],
            prefix in "/?[a./]{0,4}",
        ) {
            prop_assume!(!path::has_dot_segment(&path));
            let rewrite = PathRewrite::Prefix(prefix.into());
            if let Ok(target) = target(&original(&path), &matched, &rewrite) {
                prop_assert!(target.path().starts_with('/'));
                prop_assert!(!path::has_dot_segment(target.path()));
            }
        }
    }
}
