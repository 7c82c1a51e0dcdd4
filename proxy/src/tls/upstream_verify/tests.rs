use proptest::prelude::*;

use super::*;

#[test]
fn a_star_may_stand_for_nothing_and_for_dots() {
    for (pattern, text) in [
        ("", ""),
        ("*", ""),
        ("*", "a.b"),
        ("a*", "a"),
        ("a*c", "abbc"),
        ("*a*", "bab"),
        ("*ab", "aab"),
        ("**", "x"),
    ] {
        assert!(glob_match(pattern, text), "{pattern} {text}");
    }
    for (pattern, text) in [("", "a"), ("a", ""), ("a*", "ba"), ("*a", "ab"), ("a*b*c", "acb")] {
        assert!(!glob_match(pattern, text), "{pattern} {text}");
    }
}

#[test]
fn many_stars_take_no_exponential_time() {
    let pattern = "*a".repeat(200) + "b";
    assert!(!glob_match(&pattern, &"a".repeat(10_000)));
}

#[test]
fn a_long_list_of_names_is_cut_in_messages() {
    let names: Vec<_> = (0..500).map(|i| format!("DNS:{i}.example")).collect();
    let shown = list(&names);
    assert!(shown.ends_with("DNS:9.example and 490 more"), "{shown}");
    assert_eq!(list(&[]), "nothing");
}

#[test]
fn other_errors_of_rustls_are_not_mistaken_for_ours() {
    assert!(UpstreamCertificateError::find(&Error::DecryptError).is_none());
    assert!(UpstreamCertificateError::find(&CertificateError::UnknownIssuer.into()).is_none());
}

proptest! {
    #[test]
    fn a_pattern_matches_as_the_regular_expression_would(
        pattern in "[ab*.]{0,8}",
        text in "[ab.]{0,10}",
    ) {
        let parts: Vec<_> = pattern.split('*').map(regex::escape).collect();
        let expression = regex::Regex::new(&format!("^{}$", parts.join(".*"))).unwrap();
        prop_assert_eq!(glob_match(&pattern, &text), expression.is_match(&text));
    }
}
