//! A writer of HTML in which text cannot become markup.

use super::url::{ImageUrl, PageUrl};

/// The part of a document that is written.
#[derive(Debug)]
pub(crate) struct HtmlWriter(String);

impl HtmlWriter {
    /// An empty document.
    pub(crate) fn with_capacity(bytes: usize) -> HtmlWriter {
        HtmlWriter(String::with_capacity(bytes))
    }

    /// Adds markup of ours. `'static`: nothing that a request or a provider said can be passed.
    pub(crate) fn markup(&mut self, markup: &'static str) -> &mut HtmlWriter {
        self.0.push_str(markup);
        self
    }

    /// Adds text, escaped for elements and for quoted attributes.
    pub(crate) fn text(&mut self, text: &str) -> &mut HtmlWriter {
        escape(text, &mut self.0);
        self
    }

    /// Adds ` name="value"`.
    pub(crate) fn attribute(&mut self, name: &'static str, value: &str) -> &mut HtmlWriter {
        self.markup(" ").markup(name).markup("=\"").text(value).markup("\"")
    }

    /// Adds ` name="url"`. Attributes with an address take a [`PageUrl`] and nothing else.
    pub(super) fn url(&mut self, name: &'static str, url: &PageUrl) -> &mut HtmlWriter {
        self.attribute(name, url.as_str())
    }

    /// Adds ` name="url"`, of an image.
    pub(super) fn image(&mut self, name: &'static str, url: &ImageUrl) -> &mut HtmlWriter {
        self.attribute(name, url.as_str())
    }

    /// Adds a style that was made of colours alone, of which no character can end it.
    pub(super) fn style(&mut self, style: &str) -> &mut HtmlWriter {
        debug_assert!(!style.contains(['<', '&', '\\']));
        self.0.push_str(style);
        self
    }

    /// The document.
    pub(crate) fn finish(self) -> String {
        self.0
    }
}

/// Appends the text. Control characters have no meaning on a page, so U+FFFD stands for each.
fn escape(text: &str, out: &mut String) {
    let mut plain = 0;
    for (at, character) in text.char_indices() {
        let escaped = match character {
            '<' => "&lt;",
            '>' => "&gt;",
            '&' => "&amp;",
            '"' => "&quot;",
            '\'' => "&#39;",
            control if control.is_control() => "\u{fffd}",
            _ => continue,
        };
        out.push_str(text.get(plain..at).unwrap_or_default());
        out.push_str(escaped);
        plain = at + character.len_utf8();
    }
    out.push_str(text.get(plain..).unwrap_or_default());
}

/// A text of at most so many characters; an ellipsis shows that something was left out.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    match text.char_indices().nth(characters) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(text: &str) -> String {
        let mut out = HtmlWriter::with_capacity(0);
        out.text(text);
        out.finish()
    }

    #[test]
    fn markup_in_a_text_is_shown_as_it_was_written() {
        assert_eq!(escaped("a<b>&\"c'"), "a&lt;b&gt;&amp;&quot;c&#39;");
        assert_eq!(escaped("plain é 日本"), "plain é 日本");
        assert_eq!(escaped("x\0y\r\nz\u{85}"), "x\u{fffd}y\u{fffd}\u{fffd}z\u{fffd}");
    }

    #[test]
    fn a_value_cannot_leave_its_attribute() {
        let mut out = HtmlWriter::with_capacity(0);
        out.attribute("title", "\" onclick='x' \"");
        assert_eq!(out.finish(), " title=\"&quot; onclick=&#39;x&#39; &quot;\"");
    }

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(shortened("日本語", 2), "日本…");
        assert_eq!(shortened("日本語", 3), "日本語");
        assert_eq!(shortened("", 0), "");
    }

    proptest! {
        #[test]
        fn no_text_brings_markup_or_control_characters(text in "\\PC*|[\\x00-\\x7f]{0,40}") {
            let shown = escaped(&text);
            let odd = |c: char| matches!(c, '<' | '>' | '"' | '\'') || c.is_control();
            prop_assert!(!shown.contains(odd));
            for (at, _) in shown.match_indices('&') {
                let entities = ["&lt;", "&gt;", "&amp;", "&quot;", "&#39;"];
                prop_assert!(entities.iter().any(|entity| shown[at..].starts_with(entity)));
            }
        }
    }
}
