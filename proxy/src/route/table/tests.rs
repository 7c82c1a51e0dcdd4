use proptest::prelude::*;
use regex::Regex;

use super::*;

fn exact(host: &str, path: PathMatch) -> Matcher {
    Matcher { host: HostMatch::Exact(host.into()), port: PortMatch::Any, path }
}

fn wildcard(pattern: &str, path: PathMatch) -> Matcher {
    Matcher { host: wild(pattern), port: PortMatch::Any, path }
}

fn wild(pattern: &str) -> HostMatch {
    let expression: Vec<String> = pattern.split('*').map(regex::escape).collect();
    HostMatch::Wildcard(WildcardHost {
        pattern: pattern.into(),
        regex: Regex::new(&format!("^(?:{})$", expression.join(".*"))).unwrap(),
    })
}

#[test]
fn the_first_route_wins_over_a_longer_prefix() {
    let table = Table::new(&[
        exact("a.example", PathMatch::Prefix("/by-group".into())),
        exact("a.example", PathMatch::Prefix("/by-group-claim".into())),
    ]);
    assert_eq!(table.find("a.example", None, "/by-group-claim"), Some(0));
}

#[test]
fn a_host_with_its_own_routes_never_uses_a_wildcard() {
    let table = Table::new(&[
        wildcard("*.example", PathMatch::Any),
        exact("a.example", PathMatch::Exact("/only".into())),
    ]);
    assert_eq!(table.find("a.example", None, "/other"), None);
    assert_eq!(table.find("a.example", None, "/only"), Some(1));
    assert_eq!(table.find("b.example", None, "/other"), Some(0));
}

#[test]
fn a_route_with_a_star_does_not_match_its_bare_domain() {
    let table = Table::new(&[wildcard("*.example.com", PathMatch::Any)]);
    assert_eq!(table.find("example.com", None, "/"), None);
    assert_eq!(table.find("notexample.com", None, "/"), None);
    assert_eq!(table.find("a.b.example.com", None, "/"), Some(0));
}

#[test]
fn a_star_inside_a_label_matches_dots_too() {
    let table = Table::new(&[wildcard("app-*.example.com", PathMatch::Any)]);
    assert_eq!(table.find("app-1.example.com", None, "/"), Some(0));
    assert_eq!(table.find("app-1.eu.example.com", None, "/"), Some(0));
    assert_eq!(table.find("app.example.com", None, "/"), None);
}

#[test]
fn prefix_and_suffix_of_a_pattern_do_not_share_characters() {
    let table = Table::new(&[wildcard("aba*aba", PathMatch::Any)]);
    assert_eq!(table.find("aba", None, "/"), None);
    assert_eq!(table.find("ababa", None, "/"), None);
    assert_eq!(table.find("abaaba", None, "/"), Some(0));
}

#[test]
fn an_authority_without_a_port_counts_as_443() {
    let only = |port| Matcher {
        host: HostMatch::Exact("a.example".into()),
        port: PortMatch::Is(port),
        path: PathMatch::Any,
    };
    let table = Table::new(&[only(8443), only(443)]);
    assert_eq!(table.find("a.example", None, "/"), Some(1));
    assert_eq!(table.find("a.example", Some(8443), "/"), Some(0));
    assert_eq!(table.find("a.example", Some(80), "/"), None);
}

#[test]
fn a_hundred_thousand_hosts_and_thousands_of_suffixes_are_found() {
    let mut matchers: Vec<Matcher> =
        (0..100_000).map(|n| exact(&format!("h{n}.example"), PathMatch::Any)).collect();
    let regex = Regex::new("^$").unwrap(); // a suffix needs none, and building 5,000 takes long
    matchers.extend((0..5_000).map(|n| Matcher {
        host: HostMatch::Wildcard(WildcardHost {
            pattern: format!("*.t{n}.example").into(),
            regex: regex.clone(),
        }),
        port: PortMatch::Any,
        path: PathMatch::Any,
    }));
    let table = Table::new(&matchers);
    assert_eq!(table.find("h99999.example", None, "/"), Some(99_999));
    assert_eq!(table.find("x.t4999.example", None, "/"), Some(104_999));
    assert!(table.patterns.is_empty());
}

/// A slow model of the table.
fn naive(matchers: &[Matcher], host: &str, port: Option<u16>, path: &str) -> Option<usize> {
    let port = port.unwrap_or(443);
    let has_exact =
        matchers.iter().any(|m| matches!(&m.host, HostMatch::Exact(name) if &**name == host));
    matchers.iter().position(|m| {
        let host_matches = match &m.host {
            HostMatch::Exact(name) => &**name == host,
            HostMatch::Wildcard(w) => !has_exact && w.regex.is_match(host),
        };
        let port_matches = match m.port {
            PortMatch::Any => true,
            PortMatch::Is(wanted) => wanted == port,
        };
        let path_matches = match &m.path {
            PathMatch::Any => true,
            PathMatch::Prefix(prefix) => path.starts_with(&**prefix),
            PathMatch::Exact(exact) => path == &**exact,
            PathMatch::Regex(regex) => regex.is_match(path),
        };
        host_matches && port_matches && path_matches
    })
}

fn any_matcher() -> impl Strategy<Value = Matcher> {
    let host = prop_oneof![
        "[ab]{1,2}(\\.[ab]{1,2}){0,2}".prop_map(|host| HostMatch::Exact(host.into())),
        "\\*\\.[ab]{1,2}(\\.[ab]){0,2}".prop_map(|pattern| wild(&pattern)),
        "[ab.]{0,2}\\*[ab.]{0,2}(\\*[ab.]{0,2})?".prop_map(|pattern| wild(&pattern)),
    ];
    let port = prop_oneof![
        3 => Just(PortMatch::Any),
        1 => Just(PortMatch::Is(443)),
        1 => Just(PortMatch::Is(8443)),
    ];
    let path = prop_oneof![
        Just(PathMatch::Any),
        "/[xy]{0,2}".prop_map(|path| PathMatch::Prefix(path.into())),
        "/[xy]{0,2}".prop_map(|path| PathMatch::Exact(path.into())),
        Just(PathMatch::Regex(Regex::new("^(?:/x+)$").unwrap())),
    ];
    (host, port, path).prop_map(|(host, port, path)| Matcher { host, port, path })
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_walk_over_all_routes(
        matchers in proptest::collection::vec(any_matcher(), 0..12),
        host in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        port in proptest::option::of(prop_oneof![Just(443), Just(8443), Just(80)]),
        path in "/[xy]{0,3}",
    ) {
        let table = Table::new(&matchers);
        prop_assert_eq!(
            table.find(&host, port, &path),
            naive(&matchers, &host, port, &path)
        );
    }
    #[test]
    fn the_routes_that_are_tried_end_with_the_one_that_is_found(
        matchers in proptest::collection::vec(any_matcher(), 0..12),
        host in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        port in proptest::option::of(prop_oneof![Just(443), Just(8443), Just(80)]),
        path in "/[xy]{0,3}",
    ) {
        let table = Table::new(&matchers);
        let tried = table.tried(&host, port, &path);
        let (passed_over, found) = match tried.split_last() {
            Some((last, before)) if last.mismatch.is_none() => (before, Some(last.index)),
            _ => (tried.as_slice(), None),
        };
        prop_assert_eq!(table.find(&host, port, &path), found);
        let names_host = |host_match: &HostMatch| match host_match {
            HostMatch::Exact(name) => **name == *host,
            HostMatch::Wildcard(wildcard) => wildcard.regex.is_match(&host),
        };
        let before = matchers.iter().take(found.unwrap_or(matchers.len())).enumerate();
        let named: Vec<_> = before.filter(|(_, it)| names_host(&it.host)).map(|(at, _)| at).collect();
        let indices: Vec<_> = passed_over.iter().map(|tried| tried.index).collect();
        prop_assert_eq!(indices, named);
        prop_assert!(passed_over.iter().all(|tried| tried.mismatch.is_some()));
    }
}
