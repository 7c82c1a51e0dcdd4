//! Rewriting the path and the host for an upstream.

use std::borrow::Cow;

use http::{HeaderMap, HeaderValue, uri::PathAndQuery};

use super::{
    path,
    request::{InvalidRequest, RequestTarget, join},
    spec::{HostRewrite, PathRewrite, RegexRewrite},
};
use crate::route::PathMatch;

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
        PathRewrite::Regex(RegexRewrite { pattern, substitution }) => {
            match pattern.replace_all(original.path(), &**substitution) {
                Cow::Borrowed(_) => return Ok(original.path_and_query.clone()),
                Cow::Owned(rewritten) => rewritten,
            }
        }
    };
    let rewritten = rooted(rewritten);
    if path::has_dot_segment(&rewritten) && !path::has_dot_segment(original.path()) {
        return Err(InvalidRequest::RewrittenPath);
    }
    join(&rewritten, original.query()).ok_or(InvalidRequest::RewrittenPath)
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
pub(crate) fn host(
    original: &RequestTarget,
    headers: &HeaderMap,
    rewrite: &HostRewrite,
    upstream: Option<&HeaderValue>,
) -> Option<HeaderValue> {
    match rewrite {
        HostRewrite::Upstream => upstream.cloned(),
        HostRewrite::Preserve => None,
        HostRewrite::Literal(value) => Some(value.clone()),
        HostRewrite::Header(name) => headers.get(name).filter(|value| !value.is_empty()).cloned(),
        HostRewrite::PathRegex(RegexRewrite { pattern, substitution }) => {
            let host = pattern.replace_all(original.path(), &**substitution);
            HeaderValue::from_str(&host).ok()
        }
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
        let rewrite = PathRewrite::Regex(RegexRewrite {
            pattern: Regex::new("/v([0-9])").unwrap(),
            substitution: "/version-${1}".into(),
        });
        let target = target(&original("/v1/v2?x=/v3"), &PathMatch::Any, &rewrite).unwrap();
        assert_eq!(target, "/version-1/version-2?x=/v3");
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
            value.map(|value| value.to_str().unwrap().to_owned())
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
