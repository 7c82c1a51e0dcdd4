//! The matchers that serve more than the requests of another.

use crate::route::{Matcher, PathMatch, PortMatch};

/// The longest paths have more segments than anybody writes by hand.
const MAX_SEGMENTS: usize = 16;

/// Matchers of the same host that serve each request that this one serves: without a path, with a
/// prefix of its path, and with any port.
pub(super) fn broader(matcher: &Matcher) -> impl Iterator<Item = Matcher> + '_ {
    let ports = [Some(matcher.port), Some(PortMatch::Any).filter(|any| *any != matcher.port)];
    ports.into_iter().flatten().flat_map(move |port| {
        let with = move |path| Matcher { host: matcher.host.clone(), port, path };
        paths(&matcher.path, port != matcher.port).map(with)
    })
}

fn paths(path: &PathMatch, same_too: bool) -> impl Iterator<Item = PathMatch> + '_ {
    let text = match path {
        PathMatch::Prefix(text) | PathMatch::Exact(text) => &**text,
        PathMatch::Any | PathMatch::Regex(_) => "",
    };
    let is_prefix = matches!(path, PathMatch::Prefix(_));
    // With and without the slash at its end.
    let ends = text.match_indices('/').take(MAX_SEGMENTS).flat_map(|(at, _)| [at, at + 1]);
    let whole = (!is_prefix && !text.is_empty()).then_some(text.len());
    let prefixes =
        ends.chain(whole).filter(move |end| *end > 0 && (!is_prefix || *end < text.len()));
    let prefixes = prefixes.filter_map(move |end| Some(PathMatch::Prefix(text.get(..end)?.into())));
    let any = (!matches!(path, PathMatch::Any) || same_too).then_some(PathMatch::Any);
    let itself = same_too.then(|| path.clone());
    any.into_iter().chain(prefixes).chain(itself)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::HostMatch;

    fn shown(path: PathMatch, port: PortMatch) -> Vec<String> {
        let matcher = Matcher { host: HostMatch::Exact("a".into()), port, path };
        broader(&matcher).map(|broad| broad.to_string()).collect()
    }

    #[test]
    fn a_path_is_served_by_its_prefixes_and_by_none_at_all() {
        let any = PortMatch::Any;
        let api =
            ["https://a", "https://a/*", "https://a/api*", "https://a/api/*", "https://a/api/x*"];
        assert_eq!(shown(PathMatch::Exact("/api/x".into()), any), api);
        assert_eq!(shown(PathMatch::Prefix("/api/x".into()), any), api[..4]);
        assert_eq!(shown(PathMatch::Prefix("/".into()), any), ["https://a"]);
        assert!(shown(PathMatch::Any, any).is_empty());
    }

    #[test]
    fn a_route_of_every_port_serves_each_port() {
        let broad = shown(PathMatch::Any, PortMatch::Is(443));
        assert_eq!(broad, ["https://a", "https://a"]);
    }
}
