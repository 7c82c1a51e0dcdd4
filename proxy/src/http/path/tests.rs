use proptest::prelude::*;

use super::*;
use crate::http::testing::settings;

fn normal(path: &str) -> String {
    normalise(path, &settings()).unwrap().path.into_owned()
}

fn with(escaped_slashes: EscapedSlashes) -> RequestSettings {
    RequestSettings { escaped_slashes, ..settings() }
}

#[test]
fn an_ordinary_path_is_not_copied() {
    for path in ["/", "/a/b.c/d-e_f~", "/api/v1/users/42;x=1,2:@!$&'()*+", "/a/"] {
        let normal = normalise(path, &settings()).unwrap();
        assert!(matches!(normal.path, Cow::Borrowed(same) if same == path), "{path}");
    }
}

#[test]
fn dot_segments_are_resolved_and_never_above_the_root() {
    for (path, expected) in [
        ("/a/b/c/./../../g", "/a/g"),
        ("/.", "/"),
        ("/..", "/"),
        ("/a/.", "/a/"),
        ("/a/b/..", "/a/"),
        ("/../../etc/passwd", "/etc/passwd"),
        ("/a/%2e%2E/b", "/b"),
        ("/a/.%2e/b", "/b"),
        ("/a/%2e/b", "/a/b"),
        ("/a\\..\\b", "/b"),
        ("/a//../b", "/a/b"),
        ("/.well-known/x", "/.well-known/x"),
        ("/a/...", "/a/..."),
        ("/a/..b", "/a/..b"),
    ] {
        assert_eq!(normal(path), expected, "{path}");
    }
}

#[test]
fn escapes_of_unreserved_characters_are_decoded_and_others_stay() {
    assert_eq!(normal("/%61dmin"), "/admin");
    assert_eq!(normal("/%7Euser"), "/~user");
    assert_eq!(normal("/a%20b%3f%c3%A9"), "/a%20b%3f%c3%A9");
    assert_eq!(normal("/%252e%252e/x"), "/%252e%252e/x");
}

#[test]
fn characters_that_a_path_may_not_hold_are_escaped() {
    assert_eq!(normal("/caf\u{e9}/\"x\""), "/caf%C3%A9/%22x%22");
}

#[test]
fn repeated_slashes_are_merged_unless_configured_otherwise() {
    assert_eq!(normal("//a///b//"), "/a/b/");
    let keep = RequestSettings { merge_slashes: false, ..settings() };
    assert_eq!(normalise("//a///b", &keep).unwrap().path, "//a///b");
}

#[test]
fn without_normalisation_a_path_is_passed_as_it_is() {
    let off = RequestSettings { normalize_path: false, merge_slashes: false, ..settings() };
    assert_eq!(normalise("/a/../%41%zz", &off).unwrap().path, "/a/../%41%zz");
}

#[test]
fn malformed_escapes_and_nul_are_refused() {
    for path in ["/%", "/%4", "/%zz", "/%%32e", "/a%00b", "/a\0b", "/a\\..cd\0\\B"] {
        assert_eq!(normalise(path, &settings()), Err(PathError::BadEscape), "{path}");
    }
    let off = RequestSettings { normalize_path: false, ..settings() };
    assert_eq!(normalise("/a%00b", &off), Err(PathError::BadEscape));
}

#[test]
fn a_path_that_does_not_begin_with_a_slash_is_refused() {
    assert_eq!(normalise("*", &settings()), Err(PathError::NotAbsolute));
    assert_eq!(normalise("", &settings()), Err(PathError::NotAbsolute));
}

#[test]
fn escaped_slashes_are_treated_as_the_settings_say() {
    for path in ["/a%2Fb", "/a%2fb", "/a%5Cb", "/a%5cb"] {
        assert_eq!(normalise(path, &settings()), Err(PathError::EscapedSlash), "{path}");
        assert_eq!(normalise(path, &with(EscapedSlashes::Keep)).unwrap().path, path);
        for action in [EscapedSlashes::Unescape, EscapedSlashes::Redirect] {
            let unescaped = with(action);
            let normal = normalise(path, &unescaped).unwrap();
            assert_eq!((&*normal.path, normal.unescaped), ("/a/b", true), "{path}");
        }
    }
}

#[test]
fn slashes_are_unescaped_before_dot_segments_are_resolved() {
    let settings = with(EscapedSlashes::Unescape);
    assert_eq!(normalise("/a/..%2f..%2fetc", &settings).unwrap().path, "/etc");
    assert_eq!(normalise("/a%5c..%5cb", &settings).unwrap().path, "/b");
}

#[test]
fn a_dot_segment_is_seen_in_every_spelling() {
    for path in ["/a/../b", "/.", "/a/%2e%2E", "/a\\..", "/.%2e/"] {
        assert!(has_dot_segment(path), "{path}");
    }
    for path in ["/a/...", "/..a", "/a.", "/", "/%2f"] {
        assert!(!has_dot_segment(path), "{path}");
    }
}

fn any_settings() -> impl Strategy<Value = RequestSettings> {
    let action = prop_oneof![
        Just(EscapedSlashes::Reject),
        Just(EscapedSlashes::Keep),
        Just(EscapedSlashes::Redirect),
        Just(EscapedSlashes::Unescape),
    ];
    (action, any::<bool>()).prop_map(|(escaped_slashes, merge_slashes)| RequestSettings {
        escaped_slashes,
        merge_slashes,
        ..settings()
    })
}

proptest! {
    #[test]
    fn a_normal_path_is_a_fixed_point_without_dot_segments(
        path in "/\\PC{0,20}|/([./\\\\%2eEfF5c30a]|%2e|%2f|%5c|\\.\\.|//){0,12}",
        settings in any_settings(),
    ) {
        if let Ok(first) = normalise(&path, &settings) {
            let first = first.path.into_owned();
            prop_assert!(first.starts_with('/'));
            prop_assert!(!has_dot_segment(&first), "{}", first);
            prop_assert!(first.is_ascii() && !first.contains('\\'));
            prop_assert!(!settings.merge_slashes || !first.contains("//"));
            let again = normalise(&first, &settings).unwrap();
            prop_assert_eq!(&*again.path, &*first);
            prop_assert!(!again.unescaped);
        }
    }

    #[test]
    fn no_text_makes_it_panic(
        path in "\\PC{0,30}",
        settings in any_settings(),
        normalize_path: bool,
    ) {
        let _ = normalise(&path, &RequestSettings { normalize_path, ..settings });
    }
}
