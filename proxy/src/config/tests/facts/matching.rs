//! Which requests a route serves.

use super::*;

#[test]
fn sources_match_hosts_and_ports() {
    for (from, any_port, host, port) in [
        ("https://A.Example.", true, "a.example", PortMatch::Any),
        ("https://a.example", false, "a.example", PortMatch::Is(443)),
        ("https://a.example:443", true, "a.example", PortMatch::Is(443)),
        ("https://a.example:8443", false, "a.example", PortMatch::Is(8443)),
        ("https://[::0:1]/", true, "::1", PortMatch::Any),
    ] {
        let yaml = format!(
            "runtime_flags: {{match_any_incoming_port: {any_port}}}\n\
             routes: [{{from: '{from}', to: http://b}}]"
        );
        let matcher = config(&yaml).routes.remove(0).matcher;
        let HostMatch::Exact(matched) = matcher.host else { panic!("{from}") };
        assert_eq!((&*matched, matcher.port), (host, port), "{from}");
    }
}

#[test]
fn a_star_stands_for_any_characters_and_a_dot_for_itself() {
    let HostMatch::Wildcard(host) =
        route_from("https://*.Ex-1.example", "to: http://b").matcher.host
    else {
        panic!()
    };
    assert_eq!(&*host.pattern, "*.ex-1.example");
    for (name, matches) in [
        ("a.ex-1.example", true),
        ("a.b.ex-1.example", true),
        ("ex-1.example", false),
        ("a.ex-1xexample", false),
        ("a.ex-1.example.evil", false),
    ] {
        assert_eq!(host.regex.is_match(name), matches, "{name}");
    }
}

#[test]
fn the_most_particular_path_key_wins() {
    let path = |keys: &str| route(&format!("to: http://b\n{keys}")).matcher.path;
    assert!(matches!(path(""), PathMatch::Any));
    assert!(matches!(path("prefix: /a"), PathMatch::Prefix(prefix) if &*prefix == "/a"));
    assert!(matches!(path("path: /a\nprefix: /b"), PathMatch::Exact(path) if &*path == "/a"));
    assert!(matches!(path("path: /a\nregex: /b"), PathMatch::Regex(_)));
}

#[test]
fn expressions_match_the_whole_path() {
    let PathMatch::Regex(regex) = route("to: http://b\nregex: '/a|/b'").matcher.path else {
        panic!()
    };
    for (path, matches) in
        [("/a", true), ("/b", true), ("/ax", false), ("x/b", false), ("/a\n", false)]
    {
        assert_eq!(regex.is_match(path), matches, "{path:?}");
    }
}

#[test]
fn flags_in_an_expression_do_not_loosen_its_anchors() {
    let PathMatch::Regex(regex) = route("to: http://b\nregex: '(?m)/a$'").matcher.path else {
        panic!()
    };
    assert!(!regex.is_match("/a\n/b"));
}
