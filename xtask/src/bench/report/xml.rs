//! Elements of HTML and SVG. All text and all values of attributes pass through here, so that
//! everything is escaped and the whole is well-formed XML.

use std::fmt::{self, Display, Formatter};

/// An element under construction.
#[derive(Debug, Clone)]
pub(super) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Element(Element),
    Text(String),
}

impl Element {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, attributes: Vec::new(), children: Vec::new() }
    }

    pub(super) fn with(mut self, attribute: &'static str, value: impl Display) -> Self {
        self.attributes.push((attribute, value.to_string()));
        self
    }

    pub(super) fn text(mut self, text: impl Display) -> Self {
        self.children.push(Node::Text(text.to_string()));
        self
    }

    pub(super) fn child(mut self, child: Self) -> Self {
        self.children.push(Node::Element(child));
        self
    }

    pub(super) fn children(mut self, children: impl IntoIterator<Item = Self>) -> Self {
        self.children.extend(children.into_iter().map(Node::Element));
        self
    }
}

impl Display for Element {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<{}", self.name)?;
        for (name, value) in &self.attributes {
            write!(f, " {name}=\"{}\"", Escaped(value))?;
        }
        // The one element here that HTML writes without an end tag.
        if self.name == "meta" {
            return f.write_str("/>");
        }
        f.write_str(">")?;
        for child in &self.children {
            match child {
                Node::Element(element) => element.fmt(f)?,
                Node::Text(text) => Escaped(text).fmt(f)?,
            }
        }
        write!(f, "</{}>", self.name)
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\n' | '\t' => write!(f, "{letter}")?,
                // XML cannot express these, nor U+FFFE and U+FFFF.
                '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                _ if letter.is_control() => f.write_str("\u{fffd}")?,
                _ => write!(f, "{letter}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let element = Element::new("p").with("title", "\"a\" & <b>").text("</p>\u{1b}\u{ffff}");
        let expected = "<p title=\"&quot;a&quot; &amp; &lt;b&gt;\">&lt;/p&gt;\u{fffd}\u{fffd}</p>";
        assert_eq!(element.to_string(), expected);
    }

    #[test]
    fn only_void_html_elements_have_no_end_tag() {
        assert_eq!(Element::new("td").to_string(), "<td></td>");
        assert_eq!(
            Element::new("meta").with("charset", "utf-8").to_string(),
            "<meta charset=\"utf-8\"/>"
        );
    }
}
