//! An organization's colours, logo and words on the pages.

use std::sync::LazyLock;

use super::{
    color::PageColor,
    headers::style_source,
    html::{HtmlWriter, shortened},
    url::ImageUrl,
};

/// What is behind the text of a page in light and in dark: `--card` of the style.
const CARDS: [&str; 2] = ["#ffffff", "#161a21"];

/// The longest first paragraph, in characters.
pub(crate) const MAX_PARAGRAPH: usize = 1_000;

static NONE: LazyLock<Branding> = LazyLock::new(Branding::default);

/// What is configured of it. Without anything, the pages look as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BrandingSpec {
    /// Buttons and links: in light, and in dark. A dark one that is absent is that for light.
    pub primary: [Option<PageColor>; 2],
    /// The picture: in light, and in dark.
    pub secondary: [Option<PageColor>; 2],
    /// On pages of errors.
    pub logo: Option<ImageUrl>,
    /// On pages of errors.
    pub favicon: Option<ImageUrl>,
    /// The first paragraph of pages of errors, as text; empty without one.
    pub first_paragraph: String,
}

/// A [`BrandingSpec`], ready for pages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Branding {
    spec: BrandingSpec,
    /// Stands behind the style of all pages; empty without colours.
    style: String,
    /// Its digest as a source expression, with a blank before it; empty without a style.
    style_source: String,
}

impl Branding {
    /// Compiles the style.
    pub(crate) fn new(spec: BrandingSpec) -> Branding {
        let style = style(&spec);
        let source = match style.as_str() {
            "" => String::new(),
            style => format!(" {}", style_source(style)),
        };
        Branding { spec, style, style_source: source }
    }

    /// The pages as they are.
    pub(crate) fn none() -> &'static Branding {
        &NONE
    }

    /// Sources beside those of all pages: of styles, and of the images of a page of an error.
    pub(super) fn sources(&self, is_error: bool) -> (&str, String) {
        let images = [&self.spec.logo, &self.spec.favicon].into_iter().flatten();
        let mut origins: Vec<_> = images.filter(|_| is_error).map(ImageUrl::origin).collect();
        origins.dedup();
        let images = match origins.as_slice() {
            [] => String::new(),
            origins => format!("img-src {}; ", origins.join(" ")),
        };
        (&self.style_source, images)
    }

    /// Writes what belongs into the head of a page.
    pub(super) fn head(&self, out: &mut HtmlWriter, is_error: bool) {
        if !self.style.is_empty() {
            out.markup("<style>").style(&self.style).markup("</style>\n");
        }
        if let Some(favicon) = self.spec.favicon.as_ref().filter(|_| is_error) {
            out.markup("<link rel=\"icon\"").image("href", favicon).markup(">\n");
        }
    }

    /// Writes the logo of a page of an error.
    pub(super) fn logo(&self, out: &mut HtmlWriter) {
        if let Some(logo) = &self.spec.logo {
            out.markup("<img class=\"logo\" alt=\"\"").image("src", logo).markup(">\n");
        }
    }

    /// Writes the first paragraph of a page of an error.
    pub(super) fn first_paragraph(&self, out: &mut HtmlWriter) {
        let words: Vec<_> = self.spec.first_paragraph.split_whitespace().collect();
        if !words.is_empty() {
            let text = shortened(&words.join(" "), MAX_PARAGRAPH);
            out.markup("<p class=\"said\">").text(&text).markup("</p>\n");
        }
    }
}

/// Names of colours and their values, for light and, below a condition, for dark.
fn style(spec: &BrandingSpec) -> String {
    let of = |colors: [Option<PageColor>; 2], dark: usize| match dark {
        0 => colors[0],
        _ => colors[1].or(colors[0]),
    };
    let rules = [0, 1].map(|dark| rules(of(spec.primary, dark), of(spec.secondary, dark), dark));
    match rules {
        [light, dark] if light.is_empty() && dark.is_empty() => String::new(),
        [light, dark] => {
            format!(":root{{{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}")
        }
    }
}

/// A text has the primary colour only where it can be read: on the card, else on a button.
fn rules(primary: Option<PageColor>, secondary: Option<PageColor>, dark: usize) -> String {
    let mut rules = String::new();
    if let Some(color) = primary {
        rules.push_str(&format!("--fill:{color};--on:{};", color.text_color()));
        if is_for_texts(color, dark) {
            rules.push_str(&format!("--link:{color};"));
        }
    }
    if let Some(color) = secondary {
        rules.push_str(&format!("--mark:{color};"));
    }
    rules
}

/// Whether texts on the card are shown in this colour, in light (0) or dark (1).
fn is_for_texts(color: PageColor, dark: usize) -> bool {
    CARDS
        .get(dark)
        .and_then(|card| PageColor::parse(card))
        .is_some_and(|card| color.is_readable_on(card))
}
