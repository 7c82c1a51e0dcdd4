use std::fmt::Write;

use proptest::prelude::*;

use super::*;

fn only_fault(text: &str) -> YamlFault {
    let mut faults = scan(text).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn every_key_and_element_has_its_line() {
    let places = scan(
        "address: :443\n\
         # a comment\n\
         routes:\n\
         \x20 - from: https://a.example\n\
         \x20   to:\n\
         \x20     - https://x\n\
         \x20     - https://y\n\
         \n\
         \x20 - {from: https://b.example,\n\
         \x20    To: https://z}\n",
    )
    .unwrap();
    for (path, line) in [
        ("address", 1),
        ("routes", 3),
        ("routes[0]", 4),
        ("routes[0].from", 4),
        ("routes[0].to", 5),
        ("routes[0].to[1]", 7),
        ("routes[1].from", 9),
        ("routes[1].to", 10),
    ] {
        assert_eq!(places.line(path), Some(line), "{path}");
    }
}

#[test]
fn a_key_that_is_missing_has_the_line_of_what_it_is_missing_in() {
    let places = scan("routes:\n  - from: https://a.example\n  - to: https://b\n").unwrap();
    assert_eq!(places.line("routes[1].from"), Some(3));
    assert_eq!(places.line("routes[7]"), Some(1));
    assert_eq!(places.line("address"), None);
}

#[test]
fn every_duplicate_key_is_found_with_both_lines() {
    let faults =
        scan("address: :443\naddress: :444\nroutes:\n  - from: a\n    from: b\n").unwrap_err();
    assert_eq!(
        faults,
        [
            YamlFault {
                line: 2,
                key_path: "address".into(),
                message: "is written twice, first in line 1".into(),
                hint: None,
            },
            YamlFault {
                line: 5,
                key_path: "routes[0].from".into(),
                message: "is written twice, first in line 4".into(),
                hint: None,
            },
        ]
    );
}

#[test]
fn an_alias_bomb_is_refused_without_being_expanded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..40 {
        let before = level - 1;
        let references = vec![format!("*a{before}"); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{references}]").unwrap();
    }
    let fault = only_fault(&text);
    assert!(fault.message.contains("more than 4000000 values"), "{fault:?}");
}

#[test]
fn aliases_that_only_deepen_are_refused() {
    let mut text = "a0: &a0 [x]\n".to_owned();
    for level in 1..100 {
        writeln!(text, "a{level}: &a{level} [*a{}]", level - 1).unwrap();
    }
    assert!(only_fault(&text).message.contains("64 levels"));
}

#[test]
fn an_alias_inside_of_its_own_anchor_is_refused() {
    assert!(only_fault("a: &a [*a]\n").message.contains("inside the value that it refers to"));
}

#[test]
fn an_ordinary_alias_is_fine() {
    let text = "base: &base {timeout: 5s}\nroutes:\n  - <<: *base\n    from: https://a\n";
    assert_eq!(scan(text).unwrap().line("routes[0].from"), Some(4));
}

#[test]
fn ten_thousand_levels_are_refused() {
    for text in ["[".repeat(10_000), "{a: ".repeat(10_000), "- ".repeat(10_000)] {
        assert!(only_fault(&text).message.contains("64 levels"));
    }
}

#[test]
fn a_second_document_is_refused() {
    assert!(only_fault("address: :443\n---\naddress: :444\n").message.contains("second"));
}

#[test]
fn a_tab_as_indentation_is_refused_with_its_line() {
    assert_eq!(only_fault("routes:\n\t- from: x\n").line, 2);
}

proptest! {
    #[test]
    fn any_text_is_scanned_without_a_panic(text in "\\PC{0,200}") {
        let _ = scan(&text);
    }

    #[test]
    fn yaml_like_text_is_scanned_without_a_panic(text in "[-a:\\[\\]{}&*!|>'\"#%@` \\n\\t,?0~<]{0,120}") {
        let _ = scan(&text);
    }
}

#[test]
fn only_a_flat_text_is_read_without_a_scan() {
    let brackets = |depth: usize| format!("a: {}{}", "[".repeat(depth), "]".repeat(depth));
    let indented = |depth: usize| {
        (0..depth).map(|level| format!("{}a:\n", " ".repeat(level))).collect::<String>()
    };
    let dashes = |depth: usize| format!("{}a", "- ".repeat(depth));
    for text in [brackets(MAX_DEPTH), indented(MAX_DEPTH + 1), dashes(MAX_DEPTH)] {
        assert!(!is_harmless(&text), "{text}");
    }
    let flat = format!("{}\n{}", brackets(9), indented(9)).repeat(20);
    assert!(is_harmless(&flat));
}
