use super::*;
use crate::{certificate::parse, tls::testing::der_of};

/// By OpenSSL, with one name of each kind.
const GOOD: &str = include_str!("../testdata/crl/good.crt.pem");

fn allowed(certificate: &str, matchers: &[(AltNameKind, &str)]) -> bool {
    let matchers: Vec<_> = matchers
        .iter()
        .map(|(kind, pattern)| AltNameMatcher::new(*kind, pattern).unwrap())
        .collect();
    let der = der_of(certificate);
    is_allowed(&matchers, &parse(&der).unwrap())
}

fn dns(name: &str, patterns: &[&str]) -> bool {
    use crate::tls::testing::{leaf, pem, root};
    let certificate = pem(&root().issue(leaf(&[name])).der);
    let matchers: Vec<_> = patterns.iter().map(|pattern| (AltNameKind::Dns, *pattern)).collect();
    allowed(&certificate, &matchers)
}

#[test]
fn each_kind_is_matched_by_its_own_names() {
    let names = [
        (AltNameKind::Dns, "good.example"),
        (AltNameKind::Email, "good@example.com"),
        (AltNameKind::IpAddress, "192.0.2.7"),
        (AltNameKind::IpAddress, "2001:db8::7"),
        (AltNameKind::Uri, "spiffe://example/good"),
        (AltNameKind::UserPrincipalName, "ann@corp.example"),
    ];
    for (kind, name) in names {
        let pattern = regex::escape(name);
        assert!(allowed(GOOD, &[(kind, &pattern)]), "{kind:?}");
        for (other, _) in names.iter().filter(|(other, _)| *other != kind) {
            assert!(!allowed(GOOD, &[(*other, &pattern)]), "{name} as {other:?}");
        }
    }
}

#[test]
fn one_match_is_enough_and_without_matchers_none_is_needed() {
    let no = (AltNameKind::Dns, "other");
    assert!(allowed(GOOD, &[]));
    assert!(!allowed(GOOD, &[no]));
    assert!(!allowed(GOOD, &[no, no]));
    assert!(allowed(GOOD, &[no, (AltNameKind::Email, ".*@example[.]com")]));
}

#[test]
fn each_pattern_is_anchored_on_its_own() {
    let patterns = [r"a\.example\.com", r"b\.example\.com"];
    assert!(dns("a.example.com", &patterns));
    assert!(dns("b.example.com", &patterns));
    // Joined to `^(a…)|(b…)$`, these would match.
    assert!(!dns("a.example.com.evil.org", &patterns));
    assert!(!dns("evil.b.example.com", &patterns));
}

#[test]
fn alternatives_and_flags_stay_inside_a_patterns_anchors() {
    assert!(!dns("a.example.evil", &[r"a\.example|b\.example"]));
    assert!(dns("b.example", &[r"a\.example|b\.example"]));
    assert!(!dns("evil.a.example", &[r"(?m)^a\.example$"]));
    // The shorter alternative comes first, and must not keep the longer from matching.
    assert!(dns("a.example", &["a|a[.]example"]));
    assert!(dns("a.example", &["(?x) a[.]example # the first"]));
    assert!(!dns("a.example.evil", &["(?x) a[.]example # the first"]));
}

#[test]
fn a_pattern_that_closes_the_group_around_it_is_none() {
    for pattern in ["a)|(?:b", "a)|.*(?:", "[", "(?"] {
        assert!(AltNameMatcher::new(AltNameKind::Dns, pattern).is_err(), "{pattern}");
    }
}

#[test]
fn a_line_break_in_a_name_does_not_end_it() {
    let matcher = AltNameMatcher::new(AltNameKind::Dns, "a[.]example").unwrap();
    assert!(!matcher.matches(&AltName::Dns("a.example\n")));
    assert!(!matcher.matches(&AltName::Dns("a.example\nevil")));
}

#[test]
fn whatever_decides_changes_the_digest() {
    let of = |matchers: &[(AltNameKind, &str)]| {
        let matchers: Vec<_> =
            matchers.iter().map(|(kind, text)| AltNameMatcher::new(*kind, text).unwrap()).collect();
        let mut all = Digest::default();
        digest(&matchers, &mut all);
        all.finish()
    };
    assert_eq!(of(&[(AltNameKind::Dns, "a")]), of(&[(AltNameKind::Dns, "a")]));
    assert_ne!(of(&[(AltNameKind::Dns, "a")]), of(&[]));
    assert_ne!(of(&[(AltNameKind::Dns, "a")]), of(&[(AltNameKind::Uri, "a")]));
    assert_ne!(of(&[(AltNameKind::Dns, "a")]), of(&[(AltNameKind::Dns, "b")]));
}
