//! Rewriting of a request's path and host, and the targets of redirects.

use http::{
    HeaderName, HeaderValue, StatusCode,
    uri::{Authority, PathAndQuery},
};
use regex::Regex;

use super::{
    super::{diagnostic::Severity, section::Section},
    inspect::any_on,
};
use crate::{
    http::{HostRewrite, PathRewrite, RedirectPath, RedirectSpec, RegexRewrite},
    route::PathMatch,
};

/// The path rewrite; by default, the path of the first `to` replaces the prefix.
pub(super) fn path(route: &Section<'_>, to_path: &str, matched: Option<&PathMatch>) -> PathRewrite {
    let warn_of_join = |key, replacement: &str| {
        if let Some(problem) = matched.and_then(|matched| bad_join(matched, replacement)) {
            route.warn(key, problem);
        }
    };
    let prefix = route.text("prefix_rewrite");
    let pattern = route.text("regex_rewrite_pattern");
    if prefix.is_some() && pattern.is_some() {
        let message = "only prefix_rewrite or regex_rewrite_pattern can be specified, but not both";
        route.error("regex_rewrite_pattern", message);
    }
    if let Some(prefix) = prefix {
        return match absolute_path(route, "prefix_rewrite", &prefix) {
            Some(prefix) => {
                warn_of_join("prefix_rewrite", &prefix);
                PathRewrite::Prefix(prefix)
            }
            None => PathRewrite::Keep,
        };
    }
    let keys = ("regex_rewrite_pattern", "regex_rewrite_substitution");
    if let Some(rewrite) = replacement(route, keys) {
        substituted_path(route, keys.1, &rewrite.substitution);
        return PathRewrite::Regex(rewrite);
    }
    if to_path.is_empty() {
        return PathRewrite::Keep;
    }
    warn_of_join("to", to_path);
    PathRewrite::Prefix(to_path.into())
}

/// What is wrong where a replacement meets the rest of a path: no slash between them, or two. The
/// paths are joined as Envoy joins them.
fn bad_join(matched: &PathMatch, replacement: &str) -> Option<String> {
    let (prefix, ends) = match matched {
        PathMatch::Exact(_) => return None,
        PathMatch::Prefix(prefix) => (&**prefix, prefix.ends_with('/')),
        // The leading slash is replaced.
        PathMatch::Any | PathMatch::Regex(_) => ("/", true),
    };
    let (request, result) = match (ends, replacement.ends_with('/')) {
        (true, false) => (format!("{prefix}x"), format!("{replacement}x")),
        (false, true) => (format!("{prefix}/x"), format!("{replacement}/x")),
        (true, true) | (false, false) => return None,
    };
    Some(format!("the path `{request}` becomes `{result}`"))
}

/// Reports characters that no path and no query can have: each request that is rewritten would fail.
fn substituted_path(route: &Section<'_>, key: &str, substitution: &str) {
    let mut literal = String::from("/");
    for (index, part) in substitution.split("${").enumerate() {
        let (_, rest) = part.split_once('}').filter(|_| index > 0).unwrap_or(("", part));
        literal.push_str(rest);
    }
    if literal.contains('#') || !literal.is_ascii() || literal.parse::<PathAndQuery>().is_err() {
        route.error(key, "contains a character that a path cannot have");
    }
}

/// The host rewrite; the first of Pomerium's keys that is given wins.
pub(super) fn host(route: &Section<'_>) -> HostRewrite {
    let literal = route.text("host_rewrite").and_then(|text| literal_host(route, &text));
    let header = route.text("host_rewrite_header").and_then(|text| header(route, &text));
    let keys = ("host_path_regex_rewrite_pattern", "host_path_regex_rewrite_substitution");
    let regex = replacement(route, keys);
    let preserve = route.flag("preserve_host_header").unwrap_or(false);
    warn_of_losers(route);
    if let Some(literal) = literal {
        HostRewrite::Literal(literal)
    } else if let Some(header) = header {
        HostRewrite::Header(header)
    } else if let Some(regex) = regex {
        HostRewrite::PathRegex(regex)
    } else if preserve {
        HostRewrite::Preserve
    } else {
        HostRewrite::Upstream
    }
}

fn warn_of_losers(route: &Section<'_>) {
    let order = [
        "host_rewrite",
        "host_rewrite_header",
        "host_path_regex_rewrite_pattern",
        "preserve_host_header",
    ];
    let mut given = order.into_iter().filter(|key| any_on(route, &[key]));
    if let Some(winner) = given.next() {
        for loser in given {
            route.warn(loser, format!("has no effect: `{winner}` wins"));
        }
    }
}

fn literal_host(route: &Section<'_>, text: &str) -> Option<HeaderValue> {
    let host = text.parse::<Authority>().ok().filter(|host| !host.as_str().contains('@'));
    let value = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    if value.is_none() {
        route.error("host_rewrite", format!("`{}` is not a host", text.escape_debug()));
    }
    value
}

fn header(route: &Section<'_>, text: &str) -> Option<HeaderName> {
    let name = HeaderName::from_bytes(text.as_bytes()).ok();
    if name.is_none() {
        let message = format!("`{}` is not a header name", text.escape_debug());
        route.error("host_rewrite_header", message);
    }
    name
}

/// A pattern and its substitution, in RE2's syntax.
fn replacement(
    route: &Section<'_>,
    (pattern_key, substitution_key): (&str, &str),
) -> Option<RegexRewrite> {
    let Some(pattern) = route.text(pattern_key) else {
        if route.has(substitution_key) && !route.has(pattern_key) {
            route.warn(substitution_key, format!("has no effect without `{pattern_key}`"));
        }
        return None;
    };
    let text = route.text(substitution_key).unwrap_or_default();
    let pattern = regex(route, pattern_key, &pattern)?;
    match substitution(&text, pattern.captures_len()) {
        Ok(substitution) => Some(RegexRewrite { pattern, substitution: substitution.into() }),
        Err(problem) => {
            route.error(substitution_key, problem);
            None
        }
    }
}

/// Compiles an expression as written.
pub(super) fn regex(section: &Section<'_>, key: &str, pattern: &str) -> Option<Regex> {
    match Regex::new(pattern) {
        Ok(regex) => Some(regex),
        Err(error) => {
            section.error(key, format!("couldn't parse pattern \"{pattern}\": {}", why(&error)));
            None
        }
    }
}

/// The last line of the error, which is its message; the others mark the place.
fn why(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

/// From RE2's `\1` and `\\` to the `regex` crate's `${1}`; `groups` counts the whole match too.
fn substitution(text: &str, groups: usize) -> Result<String, String> {
    let mut translated = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '$' => translated.push_str("$$"),
            '\\' => match rest.next() {
                Some('\\') => translated.push('\\'),
                Some(digit) if digit.is_ascii_digit() => {
                    if digit.to_digit(10).is_some_and(|group| group as usize >= groups) {
                        let there = groups.saturating_sub(1);
                        return Err(format!(
                            "\\{digit} refers to a missing group; the pattern has \
                            {there}"
                        ));
                    }
                    translated.push_str(&format!("${{{digit}}}"));
                }
                _ => {
                    return Err("a backslash must be followed by a digit or a backslash".to_owned());
                }
            },
            _ => translated.push(c),
        }
    }
    Ok(translated)
}

/// `redirect`.
pub(super) fn redirect(section: &Section<'_>) -> RedirectSpec {
    if leads_back(section) {
        let context = section.context();
        let message = "redirects to the same URL";
        let hint = Some("set a scheme, host, port or path to go to".to_owned());
        context.report(Severity::Error, section.path(), message, hint);
    }
    RedirectSpec {
        scheme: redirect_scheme(section),
        host: redirect_host(section),
        port: redirect_port(section),
        path: redirect_path(section),
        status: redirect_status(section),
        strip_query: section.flag("strip_query").unwrap_or(false),
    }
}

/// Whether no part of the target is given, so that a client would loop.
fn leads_back(section: &Section<'_>) -> bool {
    let target = [
        "https_redirect",
        "scheme_redirect",
        "host_redirect",
        "port_redirect",
        "path_redirect",
        "prefix_rewrite",
    ];
    !any_on(section, &target)
}

fn redirect_scheme(section: &Section<'_>) -> Option<Box<str>> {
    let https = section.flag("https_redirect").unwrap_or(false);
    let choices = [("HTTP", "http"), ("HTTPS", "https")];
    let scheme = section.choice("scheme_redirect", &choices);
    if https && scheme.is_some() {
        super::material::contradiction(section, "https_redirect", "scheme_redirect");
    }
    if https { Some("https".into()) } else { scheme.map(Into::into) }
}

fn redirect_host(section: &Section<'_>) -> Option<Box<str>> {
    let text = section.text("host_redirect")?;
    match text.parse::<Authority>() {
        Ok(host) if !text.contains('@') && host.port().is_none() => Some(text.into()),
        _ => {
            let message = format!("`{}` is not a host", text.escape_debug());
            section.error_with_hint("host_redirect", message, "the port is port_redirect");
            None
        }
    }
}

fn redirect_port(section: &Section<'_>) -> Option<u16> {
    let port = section.number("port_redirect")?;
    if port == 0 {
        section.error("port_redirect", "0 is not a port");
    }
    Some(port)
}

fn redirect_path(section: &Section<'_>) -> RedirectPath {
    let literal = section.text("path_redirect");
    let prefix = section.text("prefix_rewrite");
    if literal.is_some() && prefix.is_some() {
        super::material::contradiction(section, "path_redirect", "prefix_rewrite");
    }
    let literal = literal.and_then(|path| absolute_path(section, "path_redirect", &path));
    let prefix = prefix.and_then(|path| absolute_path(section, "prefix_rewrite", &path));
    match (literal, prefix) {
        (Some(path), _) => RedirectPath::Literal(path),
        (None, Some(prefix)) => RedirectPath::Prefix(prefix),
        (None, None) => RedirectPath::Keep,
    }
}

fn redirect_status(section: &Section<'_>) -> StatusCode {
    match section.number::<u16>("response_code") {
        None => StatusCode::MOVED_PERMANENTLY,
        Some(code @ (301 | 302 | 303 | 307 | 308)) => {
            StatusCode::from_u16(code).unwrap_or(StatusCode::MOVED_PERMANENTLY)
        }
        Some(code) => {
            let message = format!(
                "unsupported redirect response code {code} (supported values: 301, 302, 303, 307, 308)"
            );
            section.error("response_code", message);
            StatusCode::MOVED_PERMANENTLY
        }
    }
}

/// A path that can be put into a request: it begins with `/` and needs no escapes.
pub(super) fn absolute_path(section: &Section<'_>, key: &str, path: &str) -> Option<Box<str>> {
    let fits = path.starts_with('/')
        && !path.contains(['?', '#'])
        && path.parse::<PathAndQuery>().is_ok_and(|parsed| parsed.as_str() == path);
    if !fits {
        let message = format!("`{}` is not a path", path.escape_debug());
        section.error_with_hint(key, message, "it must begin with / and contain no ? or #");
        return None;
    }
    Some(path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn re2_substitutions_become_those_of_the_regex_crate() {
        for (text, groups, expected) in [
            ("/x/\\1", 2, Ok("/x/${1}")),
            ("\\0\\1x", 2, Ok("${0}${1}x")),
            ("$1", 2, Ok("$$1")),
            ("a\\\\b", 1, Ok("a\\b")),
            ("\\2", 2, Err("\\2 refers to a missing group; the pattern has 1")),
            ("\\n", 2, Err("a backslash must be followed by a digit or a backslash")),
            ("x\\", 2, Err("a backslash must be followed by a digit or a backslash")),
        ] {
            let translated = substitution(text, groups);
            assert_eq!(translated.as_deref().map_err(String::as_str), expected, "{text}");
        }
    }

    #[test]
    fn a_path_and_its_replacement_meet_at_one_slash_or_there_is_a_warning() {
        let prefix = |prefix: &str| PathMatch::Prefix(prefix.into());
        for (matched, replacement, expected) in [
            (prefix("/admin"), "/x", None),
            (prefix("/admin/"), "/x/", None),
            (prefix("/admin"), "/x/", Some("the path `/admin/x` becomes `/x//x`")),
            (prefix("/admin"), "/", Some("the path `/admin/x` becomes `//x`")),
            (prefix("/admin/"), "/x", Some("the path `/admin/x` becomes `/xx`")),
            (PathMatch::Any, "/base/", None),
            (PathMatch::Any, "/", None),
            (PathMatch::Any, "/base", Some("the path `/x` becomes `/basex`")),
            (PathMatch::Exact("/a".into()), "/b/", None),
            (
                PathMatch::Regex(Regex::new("/.*").unwrap()),
                "/b",
                Some("the path `/x` becomes `/bx`"),
            ),
        ] {
            assert_eq!(bad_join(&matched, replacement).as_deref(), expected, "{replacement}");
        }
    }

    #[test]
    fn a_translated_substitution_replaces_as_re2_does() {
        let pattern = Regex::new("^/service/([^/]+)(/.*)$").unwrap();
        let with = substitution("\\2/instance/\\1", pattern.captures_len()).unwrap();
        assert_eq!(pattern.replace_all("/service/foo/v1/api", &with), "/v1/api/instance/foo");
    }
}
