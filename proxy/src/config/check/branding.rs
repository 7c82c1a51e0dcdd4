//! An organization's colours, logo and words on the pages that visitors see.

use super::super::section::Section;
use crate::pages::{Branding, BrandingSpec, ImageUrl, MAX_PARAGRAPH, PageColor};

/// The branding of all pages.
pub(super) fn branding(root: &Section<'_>) -> Branding {
    Branding::new(BrandingSpec {
        primary: [color(root, "primary_color"), color(root, "darkmode_primary_color")],
        secondary: [color(root, "secondary_color"), color(root, "darkmode_secondary_color")],
        logo: image(root, "logo_url"),
        favicon: image(root, "favicon_url"),
        first_paragraph: first_paragraph(root),
    })
}

fn color(root: &Section<'_>, key: &str) -> Option<PageColor> {
    let text = root.text(key)?;
    let color = PageColor::parse(&text);
    if color.is_none() {
        let message = format!("`{}` is not a colour", text.escape_debug());
        root.error_with_hint(key, message, "write `#rrggbb` or `#rgb`, in quotes");
    }
    color
}

fn image(root: &Section<'_>, key: &str) -> Option<ImageUrl> {
    let text = root.text(key)?;
    let image = ImageUrl::parse(&text);
    if image.is_none() {
        let message = format!("`{}` is not the address of an image", text.escape_debug());
        let hint =
            "write a URL such as https://www.example.com/logo.svg; browsers load it from there";
        root.error_with_hint(key, message, hint);
    }
    image
}

fn first_paragraph(root: &Section<'_>) -> String {
    const KEY: &str = "error_message_first_paragraph";
    let text = root.text(KEY).unwrap_or_default();
    let length = text.chars().count();
    if length > MAX_PARAGRAPH {
        root.error(KEY, format!("has {length} characters, more than {MAX_PARAGRAPH}"));
    }
    text
}
