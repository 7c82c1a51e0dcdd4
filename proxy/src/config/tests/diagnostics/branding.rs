//! Colours, images and words of an organization that cannot be used.

use super::super::support::{errors, warnings};

fn error(line: &str) -> String {
    let told = errors(line);
    let [told] = &told[..] else { panic!("one error for {line}: {told:?}") };
    told.clone()
}

/// Whether a line is accepted without a word about its key.
fn is_accepted(line: &str) -> bool {
    let (key, _) = line.split_once(':').unwrap();
    !warnings(line).iter().any(|warning| warning.contains(key))
}

#[test]
fn a_color_has_hexadecimal_digits_and_nothing_else() {
    for key in
        ["primary_color", "secondary_color", "darkmode_primary_color", "darkmode_secondary_color"]
    {
        for bad in ["red", "#12345", "'#fff;}'", "rgb(1,2,3)", "'#ffffff</style>'"] {
            let told = error(&format!("{key}: '{}'", bad.trim_matches('\'')));
            assert!(told.contains(&format!("{key}: `")), "{told}");
            assert!(
                told.ends_with("` is not a colour (write `#rrggbb` or `#rgb`, in quotes)"),
                "{told}"
            );
        }
        assert!(is_accepted(&format!("{key}: '#6F43E7'")));
        assert!(is_accepted(&format!("{key}: ''")));
    }
}

#[test]
fn an_image_is_loaded_over_tls() {
    for key in ["logo_url", "favicon_url"] {
        for bad in ["http://a.example/x.png", "/x.png", "data:image/png;base64,x", "https://a b"] {
            let told = error(&format!("{key}: '{bad}'"));
            assert!(told.contains("` is not the address of an image (write a URL"), "{told}");
        }
        assert!(is_accepted(&format!("{key}: https://a.example/x.png")));
    }
}

#[test]
fn a_first_paragraph_is_no_book() {
    let told = error(&format!("error_message_first_paragraph: {}", "é".repeat(1_001)));
    assert!(told.ends_with("has 1001 characters, more than 1000"), "{told}");
    let longest = format!("error_message_first_paragraph: {}", "é".repeat(1_000));
    assert!(is_accepted(&longest));
}
