//! Tabs between tokens become spaces.
//!
//! YAML 1.2.2 allows a tab wherever a space separates tokens (section 6.2), and neither of our parsers
//! does everywhere: one refuses it after `-` and in empty lines, the other after some colons. So a
//! scanner of lines tells the tabs that separate from those that are content. A tab that indents is
//! left to the parsers, which refuse it. No byte changes its place: lines and columns stay.

use std::{borrow::Cow, ops::Range};

use super::places::without_byte_order_mark;

/// The text with spaces in place of the tabs that separate tokens.
pub(super) fn as_spaces(text: &str) -> Cow<'_, str> {
    if !text.contains('\t') {
        return Cow::Borrowed(text);
    }
    let mut scanner = Scanner::default();
    let document = without_byte_order_mark(text);
    let mut start = text.len() - document.len();
    for line in document.split_inclusive(['\n', '\r']) {
        scanner.line(start, line.trim_end_matches(['\n', '\r']).as_bytes());
        start += line.len();
    }
    let (mut spaced, mut end) = (String::with_capacity(text.len()), 0);
    for white in scanner.separators {
        spaced.push_str(text.get(end..white.start).unwrap_or_default());
        spaced.extend(std::iter::repeat_n(' ', white.len()));
        end = white.end;
    }
    spaced.push_str(text.get(end..).unwrap_or_default());
    Cow::Owned(spaced)
}

/// What is known of the text before a line.
#[derive(Default)]
struct Scanner {
    /// The places of white space that separates, in order.
    separators: Vec<Range<usize>>,
    /// How many brackets and braces are open.
    flow_depth: usize,
    open: OpenScalar,
    /// The least indentation of what belongs to the last entry of a block collection.
    least_indent: usize,
}

/// A scalar that may go on in the next line.
#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum OpenScalar {
    #[default]
    No,
    Plain,
    Quoted(u8),
    /// Literal or folded.
    Block,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenKind {
    /// `-`, `?` or `:`, behind which a block collection may begin in the same line.
    Entry,
    /// What may be a key, if a colon follows.
    Node,
    /// An anchor or a tag, in front of a node.
    Property,
    Other,
}

impl Scanner {
    fn line(&mut self, start: usize, bytes: &[u8]) {
        let mut line = Line { start, bytes, at: 0 };
        let indent = bytes.iter().take_while(|byte| **byte == b' ').count();
        let is_white = white_len(bytes) == bytes.len();
        let mut ends_block = false;
        if line.is_marker() {
            *self =
                Scanner { separators: std::mem::take(&mut self.separators), ..Scanner::default() };
            line.at = 3;
            let white = line.white();
            self.separate(white);
        } else if self.open == OpenScalar::Block {
            if is_white || indent >= self.least_indent {
                return;
            }
            self.open = OpenScalar::No;
            ends_block = true;
        }
        if !matches!(self.open, OpenScalar::Quoted(_)) && line.at == 0 {
            if bytes.first() == Some(&b'%') && self.least_indent == 0 {
                return;
            }
            let white = line.white();
            let is_comment = line.peek() == Some(b'#');
            // Spaces could make a comment behind a block scalar a part of it.
            if is_white || is_comment && !ends_block {
                self.separate(white);
            }
            let is_deep = self.flow_depth > 0 || indent >= self.least_indent;
            if is_comment || !is_white && !is_deep {
                self.open = OpenScalar::No;
            }
            if is_comment {
                return;
            }
        }
        self.tokens(&mut line);
    }

    fn separate(&mut self, white: Range<usize>) {
        if !white.is_empty() {
            self.separators.push(white);
        }
    }

    fn retract(&mut self, place: Option<usize>) {
        if let Some(place) = place {
            self.separators.remove(place);
        }
    }

    /// Takes the tokens of a line, and what separates them.
    fn tokens(&mut self, line: &mut Line<'_>) {
        let mut may_begin = true;
        // The place among the separators of what is behind `-`. If a collection begins there, a tab would
        // indent it.
        let mut undecided: Option<usize> = None;
        // Where the node begins whose last token may be a key: with its anchor, tag or bracket.
        let mut begin = None;
        while line.peek().is_some() {
            let column = line.at;
            let kind = self.token(line, may_begin);
            let key_column = *begin.get_or_insert(column);
            let white = line.white();
            let is_comment = !white.is_empty() && line.peek() == Some(b'#');
            if is_comment && self.open == OpenScalar::Plain {
                self.open = OpenScalar::No;
            }
            match kind {
                TokenKind::Entry => {
                    self.retract(undecided.take());
                    begin = None;
                    if line.peek().is_some() && !is_comment {
                        undecided = Some(self.separators.len());
                    }
                }
                TokenKind::Node | TokenKind::Property if self.is_key(line) => {
                    self.retract(undecided.take());
                    self.least_indent = key_column + 1;
                }
                TokenKind::Property => {}
                TokenKind::Node | TokenKind::Other => undecided = None,
            }
            self.separate(white);
            if is_comment || self.open == OpenScalar::Block {
                return;
            }
            may_begin = kind == TokenKind::Entry;
        }
    }

    fn is_key(&self, line: &Line<'_>) -> bool {
        self.flow_depth == 0 && line.peek() == Some(b':') && line.is_blank(1)
    }

    /// Takes one token.
    fn token(&mut self, line: &mut Line<'_>, may_begin: bool) -> TokenKind {
        let (column, in_flow) = (line.at, self.flow_depth > 0);
        match std::mem::take(&mut self.open) {
            OpenScalar::Quoted(quote) => return self.quoted(line, quote),
            OpenScalar::Plain => return self.plain(line),
            OpenScalar::No | OpenScalar::Block => {}
        }
        let byte = line.peek().unwrap_or_default();
        match byte {
            b'-' | b'?' | b':' if !in_flow && line.is_blank(1) => {
                line.at += 1;
                if byte == b':' && !may_begin {
                    return TokenKind::Other;
                }
                self.least_indent = column + 1;
                TokenKind::Entry
            }
            b'[' | b'{' => {
                line.at += 1;
                self.flow_depth += 1;
                TokenKind::Other
            }
            b']' | b'}' if in_flow => {
                line.at += 1;
                self.flow_depth -= 1;
                TokenKind::Node
            }
            b',' | b':' | b'?' if in_flow => {
                line.at += 1;
                TokenKind::Other
            }
            b'"' | b'\'' => {
                line.at += 1;
                self.quoted(line, byte)
            }
            b'&' | b'*' => {
                line.at += 1;
                // As libyaml reads a name; YAML allows more characters in it.
                line.skip(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
                if byte == b'*' { TokenKind::Node } else { TokenKind::Property }
            }
            b'!' => {
                line.skip(|byte| !(is_white(byte) || in_flow && is_flow_indicator(byte)));
                TokenKind::Property
            }
            b'|' | b'>' if !in_flow => {
                line.skip(|byte| !is_white(byte));
                self.open = OpenScalar::Block;
                TokenKind::Other
            }
            _ => self.plain(line),
        }
    }

    /// Takes a scalar without quotes, up to the end of its last word in this line.
    fn plain(&mut self, line: &mut Line<'_>) -> TokenKind {
        let in_flow = self.flow_depth > 0;
        let mut end = line.at + 1;
        self.open = OpenScalar::Plain;
        line.at = end;
        while let Some(byte) = line.peek() {
            let is_end = match byte {
                b':' => {
                    let ends_flow = |next: &u8| in_flow && is_flow_indicator(*next);
                    line.is_blank(1) || line.bytes.get(line.at + 1).is_some_and(ends_flow)
                }
                b'#' => end < line.at,
                _ => in_flow && is_flow_indicator(byte),
            };
            if is_end {
                self.open = OpenScalar::No;
                break;
            }
            line.at += 1;
            if !is_white(byte) {
                end = line.at;
            }
        }
        line.at = end;
        TokenKind::Node
    }

    /// Takes the rest of a scalar in quotes, or the rest of the line if it is longer.
    fn quoted(&mut self, line: &mut Line<'_>, quote: u8) -> TokenKind {
        while let Some(byte) = line.peek() {
            line.at += 1;
            if byte == b'\\' && quote == b'"' {
                line.at += usize::from(line.peek().is_some());
            } else if byte == quote {
                if quote == b'"' || line.peek() != Some(quote) {
                    return TokenKind::Node;
                }
                line.at += 1;
            }
        }
        self.open = OpenScalar::Quoted(quote);
        TokenKind::Other
    }
}

/// A place in a line.
struct Line<'a> {
    /// Where the line begins in the text.
    start: usize,
    bytes: &'a [u8],
    at: usize,
}

impl Line<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether white space, or the end of the line, is so many bytes ahead.
    fn is_blank(&self, ahead: usize) -> bool {
        self.bytes.get(self.at + ahead).is_none_or(|byte| is_white(*byte))
    }

    fn skip(&mut self, goes_on: impl Fn(u8) -> bool) {
        while self.peek().is_some_and(&goes_on) {
            self.at += 1;
        }
    }

    /// Skips white space. Returns its place in the text.
    fn white(&mut self) -> Range<usize> {
        let from = self.at;
        self.skip(is_white);
        self.start + from..self.start + self.at
    }

    /// Whether the line begins or ends a document.
    fn is_marker(&self) -> bool {
        let marker = self.bytes.get(..3);
        matches!(marker, Some(b"---" | b"...")) && self.bytes.get(3).is_none_or(|b| is_white(*b))
    }
}

fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn white_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_white(**byte)).count()
}

fn is_flow_indicator(byte: u8) -> bool {
    matches!(byte, b',' | b'[' | b']' | b'{' | b'}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_yaml::Value;

    use super::*;
    use crate::config::places::scan;

    fn value(text: &str) -> Option<Value> {
        serde_yaml::from_str(text).ok()
    }

    #[test]
    fn a_tab_separates_wherever_a_space_does() {
        for text in [
            "a:_x\nb: y\n",
            "a:_x_# a comment\n",
            "a :_x\n",
            "\"a\"_:_'x'_\n",
            "a:\n-_x\n-_y_# z\n",
            "a:\n  -_[x,_y_]_\n  -_{_a:_b_,_c_:_d}\n",
            "a:_&b_x\nc:_*b_\n",
            "a:_!!str_1\n",
            "-_&a_!!str_b_\n-_&c\n  d:_e\n",
            "a:_|_# a comment\n  b\tc\nd:_e\n",
            "a:_>-_\n  b\n  c\nd:_e\n",
            "%YAML 1.2\n---_\na:_x\n...\n",
            "---_# a comment\na: x\n",
            "_\n_# a comment\na: x\n _\n_\nb: y\n",
            "a: x\n _# a comment\nb: y\n",
            "?_a\n:_b\n",
            "a:_\"x\\\"\ty\"_\nb:_'x''\ty'_# z\n",
            "a:_-x\nb:_?x\nc:_:x\n",
        ] {
            let (spaces, tabs) = (text.replace('_', " "), text.replace('_', "\t"));
            let expected = value(&spaces).unwrap_or_else(|| panic!("{spaces}"));
            let spaced = as_spaces(&tabs);
            assert_eq!(value(&spaced), Some(expected), "{text}");
            assert!(scan(&spaced).is_ok(), "{text}");
            assert_eq!(spaced.len(), tabs.len());
        }
    }

    #[test]
    fn a_tab_in_a_scalar_stays() {
        for text in [
            "a: x\ty\n",
            "a: \"x\ty\"\nb: 'x\ty'\n",
            "a: \"x\n  \ty\tz\"\n",
            "a: |\n  x\ty\n  \tz\n\n  -\tv\n",
            "a: >\n  x\t\n  \ty\n",
            "a: x\n  -\ty\n  z:\tv\n",
            "a: [x\n  -\ty]\n",
            "a: {b\tc: d\te}\n",
            "- |\n \tx\n- y\n",
            "&a b: |\n  -\ty\n",
            "- &a b: |\n    -\tx\n",
            "!!str b: |\n  k:\tv\n",
            "&a b: x\n  -\ty\n",
            "[a, b]: |\n  -\ty\n",
            "&a:]\t,\n",
        ] {
            let spaced = as_spaces(text);
            let expected = value(text);
            if expected.is_some() {
                assert_eq!(value(&spaced), expected, "{text}");
            }
            assert!(spaced.contains('\t'), "{text}");
        }
    }

    #[test]
    fn a_tab_that_indents_is_refused() {
        for text in [
            "\ta: x\n",
            "a:\n\tb: x\n",
            "a:\n-\tb: x\n",
            "-\t- x\n",
            "a:\n  -\t\"b\": x\n",
            "-\t&a b: c\n",
            "-\t!!str b: c\n",
            "a: |\n x\n\n\t# c\nb: y\n",
        ] {
            assert_eq!(as_spaces(text), text);
            assert!(value(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_text_without_tabs_is_not_copied() {
        assert!(matches!(as_spaces("a: x\n"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn a_document_that_can_be_read_keeps_its_meaning(
            lines in prop::collection::vec(
                "(  |\t| )?([-?][ \t])?([-&*!|>%@][a2+-]?)?[ab'\"\\[\\]{},|>#:\t -]{0,8}(:[ \t])?[ab'\"\\[\\]{},|>#\t -]{0,8}",
                1..8),
        ) {
            let text = lines.join("\n");
            let spaced = as_spaces(&text);
            prop_assert_eq!(spaced.len(), text.len());
            if let Some(expected) = value(&text) {
                prop_assert_eq!(value(&spaced), Some(expected), "{:?} {:?}", text, spaced);
            }
        }

        #[test]
        fn any_text_is_scanned(text in "[-a:\\[\\]{}&*!|>'\"#%@` \\n\\r\\t,?.\u{e9}]{0,80}") {
            let spaced = as_spaces(&text);
            prop_assert_eq!(spaced.replace('\t', " "), text.replace('\t', " "));
        }
    }
}
