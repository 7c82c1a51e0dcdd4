//! Reads the elements of a list by their entries (`key: value`), each text of an entry once: of
//! 100,000 routes most say the same as others in most of their lines, and parsing YAML is what takes
//! the time of a load.
//!
//! The text is cut at the lines at which an entry begins. What such a line means is left to the
//! parser of YAML: a construct of several lines that swallows the next entry, or anything else that
//! cannot be cut, shows in the number of entries that it finds, and the piece is then read as a whole.

use std::{
    collections::{HashMap, hash_map},
    sync::Arc,
};

use serde_yaml::Value;

use super::pieces::plain_values;

/// How many entries are remembered at most, and of which length in bytes.
const MOST_KNOWN: usize = 4096;
const LONGEST_KNOWN: usize = 256;

/// Keys whose value mostly differs from route to route: see [`Entry::simple`].
const SIMPLE_KEYS: [&str; 4] = ["from", "to", "prefix", "path"];
const SIMPLE_BEGINNINGS: [&str; 3] = ["https://", "http://", "/"];

/// Reads the elements of one list, and remembers its entries.
#[derive(Debug)]
pub(super) struct EntryReader {
    /// The key of the list.
    pub(super) key: &'static str,
    /// By their text.
    known: HashMap<Box<str>, Arc<Entry>>,
}

/// A key with its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Value,
    pub(super) value: Value,
}

/// An element of a list.
#[derive(Debug)]
pub(super) enum ListElement {
    /// A mapping, as its entries in order. Elements share the entries that they write alike.
    Entries(Vec<Arc<Entry>>),
    /// A value that was parsed as a whole.
    Whole(Value),
}

/// The texts of the entries of each element.
type ElementTexts<'t> = Vec<Vec<&'t str>>;

/// The column of the dashes.
type Indent = usize;

/// Where an entry comes from.
#[derive(Debug, Clone)]
enum EntrySource {
    Known(Arc<Entry>),
    /// The place of its text among those that must be parsed.
    Unread(usize),
}

/// The texts of entries that must be parsed, each once.
#[derive(Debug, Default)]
struct UnreadTexts<'t> {
    texts: Vec<&'t str>,
    places: HashMap<&'t str, usize>,
}

impl EntryReader {
    /// Nothing is known yet.
    pub(super) fn new(key: &'static str) -> EntryReader {
        EntryReader { key, known: HashMap::new() }
    }

    /// The elements of a piece of the list; `None` where it cannot be cut, or is not plainly good.
    /// Whether a key of an element is there twice is left to the caller.
    pub(super) fn read(&mut self, piece: &str) -> Option<Vec<ListElement>> {
        let (indent, elements) = cut(piece)?;
        let mut unread = UnreadTexts::default();
        let sources = self.sources(&elements, &mut unread);
        let parsed = self.parse(indent, &unread.texts)?;
        let entry = |source| match source {
            EntrySource::Known(entry) => Some(entry),
            EntrySource::Unread(place) => parsed.get(place).cloned(),
        };
        let element = |sources: Vec<EntrySource>| {
            let entries: Option<_> = sources.into_iter().map(entry).collect();
            entries.map(ListElement::Entries)
        };
        let elements = sources.into_iter().map(element).collect();
        self.remember(&unread.texts, parsed);
        elements
    }

    fn sources<'t>(
        &self,
        elements: &ElementTexts<'t>,
        unread: &mut UnreadTexts<'t>,
    ) -> Vec<Vec<EntrySource>> {
        let mut sources: Vec<Vec<EntrySource>> = Vec::with_capacity(elements.len());
        let mut above: &[&str] = &[];
        for texts in elements {
            let mut of_element = Vec::with_capacity(texts.len());
            for (place, text) in texts.iter().enumerate() {
                // Most entries are those of the element above.
                let is_above = above.get(place) == Some(text);
                let same = sources.last().and_then(|last| last.get(place)).filter(|_| is_above);
                of_element.push(same.cloned().unwrap_or_else(|| self.source(text, unread)));
            }
            sources.push(of_element);
            above = texts;
        }
        sources
    }

    fn source<'t>(&self, text: &'t str, unread: &mut UnreadTexts<'t>) -> EntrySource {
        match Entry::simple(text).map(Arc::new).or_else(|| self.known.get(text).cloned()) {
            Some(entry) => EntrySource::Known(entry),
            None => EntrySource::Unread(unread.place(text)),
        }
    }

    /// Parses the entries that are not known.
    fn parse(&self, indent: Indent, texts: &[&str]) -> Option<Vec<Arc<Entry>>> {
        if texts.is_empty() {
            return Some(Vec::new());
        }
        let mut document = String::new();
        for text in texts {
            document.extend([&" ".repeat(indent), "- ", text]);
        }
        let values = plain_values(&document, self.key)?;
        if values.len() != texts.len() {
            return None;
        }
        values.into_iter().map(|value| Some(Arc::new(Entry::of(value)?))).collect()
    }

    fn remember(&mut self, texts: &[&str], parsed: Vec<Arc<Entry>>) {
        if self.known.len() + parsed.len() > MOST_KNOWN {
            self.known.clear();
        }
        let short = texts.iter().zip(parsed).filter(|(text, _)| text.len() <= LONGEST_KNOWN);
        self.known.extend(short.map(|(text, entry)| (Box::from(*text), entry)));
    }
}

impl<'t> UnreadTexts<'t> {
    fn place(&mut self, text: &'t str) -> usize {
        match self.places.entry(text) {
            hash_map::Entry::Occupied(place) => *place.get(),
            hash_map::Entry::Vacant(new) => {
                self.texts.push(text);
                *new.insert(self.texts.len() - 1)
            }
        }
    }
}

impl Entry {
    /// The entry of a line such as `from: https://app.example.com`: a plain scalar of one line, whose
    /// beginning makes it a text and whose characters have no meaning in YAML.
    fn simple(text: &str) -> Option<Entry> {
        let line = text.strip_suffix('\n')?.trim_end_matches('\n');
        let (key, value) = line.split_once(": ")?;
        let is_simple = SIMPLE_KEYS.contains(&key)
            && SIMPLE_BEGINNINGS.into_iter().any(|beginning| value.starts_with(beginning))
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/.-_:*".contains(&byte))
            // At the end it would make the text a key.
            && !value.ends_with(':');
        is_simple.then(|| Entry { key: key.into(), value: value.into() })
    }

    /// Of a mapping that has nothing else.
    fn of(value: Value) -> Option<Entry> {
        let Value::Mapping(mapping) = value else { return None };
        let mut entries = mapping.into_iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Some(Entry { key, value }),
            _ => None,
        }
    }
}

/// Cuts a block sequence of block mappings at the lines at which their entries begin. `None` where
/// another line is out of the way, or where lines may end at other characters.
fn cut(piece: &str) -> Option<(Indent, ElementTexts<'_>)> {
    let is_cut_by_others = piece.contains('\r')
        || !piece.is_ascii() && piece.contains(['\u{85}', '\u{2028}', '\u{2029}']);
    if is_cut_by_others || !piece.ends_with('\n') {
        return None;
    }
    let indent = piece.lines().find(|line| !is_blank(line)).map(depth)?;
    let mut elements: ElementTexts<'_> = Vec::new();
    // Where the entry begins that is read.
    let mut begin = None;
    let mut at = 0;
    for line in piece.split_inclusive('\n') {
        let depth = depth(line);
        let content = line.get(depth..).unwrap_or_default();
        let key = match content.strip_prefix("- ") {
            _ if is_blank(line) || depth > indent + 2 => None,
            Some(key) if depth == indent => Some((key, at + depth + 2)),
            // A sequence as the value of a key may begin at the column of the key.
            Some(_) if depth == indent + 2 => None,
            None if depth == indent + 2 => Some((content, at + depth)),
            _ => return None,
        };
        if let Some((key, next)) = key {
            if !key.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_') {
                return None;
            }
            end(&mut elements, piece, begin, at);
            begin = Some(next);
            if depth == indent {
                elements.push(Vec::new());
            }
        }
        at += line.len();
    }
    end(&mut elements, piece, begin, at);
    Some((indent, elements))
}

/// Adds the entry that is read to the last element.
fn end<'t>(elements: &mut ElementTexts<'t>, piece: &'t str, begin: Option<usize>, end: usize) {
    let entry = begin.and_then(|begin| piece.get(begin..end));
    if let (Some(entry), Some(element)) = (entry, elements.last_mut()) {
        element.push(entry);
    }
}

fn depth(line: &str) -> Indent {
    line.bytes().take_while(|byte| *byte == b' ').count()
}

/// Whether a line has nothing in it, or a comment. Within a text of several lines it may mean more,
/// so it stays with the entry before it.
fn is_blank(line: &str) -> bool {
    let content = line.trim_start_matches(' ');
    content.is_empty() || content.starts_with(['#', '\n'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::elements::CurrentElement;

    fn read(text: &str) -> Option<Vec<Value>> {
        read_with(&mut EntryReader::new("routes"), text)
    }

    fn read_with(reader: &mut EntryReader, text: &str) -> Option<Vec<Value>> {
        let mut current = CurrentElement::default();
        let values = reader.read(text)?.into_iter();
        values.map(|element| current.take(element).cloned()).collect()
    }

    fn whole(text: &str) -> Vec<Value> {
        plain_values(text, "routes").unwrap_or_default()
    }

    #[test]
    fn elements_are_what_the_whole_says() {
        let first = "- from: a\n  to:\n  - b\n  - c\n  # why\n  policy:\n    - allow: {or: [x]}\n";
        let second = "- from: b\n  To: |\n    one\n\n    - two\n# end\n- from: \"a\n\n    b\"\n";
        for text in [format!("{first}{second}"), format!("\n# begin\n{second}{first}\n")] {
            assert_eq!(read(&text).unwrap(), whole(&text));
            assert_eq!(whole(&text).len(), 3);
        }
    }

    #[test]
    fn an_entry_is_parsed_once() {
        let mut reader = EntryReader::new("routes");
        let text = "- from: a\n  to: b\n- from: c\n  to: b\n- from: a\n  to: b\n";
        assert_eq!(read_with(&mut reader, text).unwrap(), whole(text));
        assert_eq!(reader.known.len(), 3);
        let mut unread = UnreadTexts::default();
        reader.sources(&cut(text).unwrap().1, &mut unread);
        assert_eq!(unread.texts, [""; 0]);
        assert_eq!(read_with(&mut reader, text).unwrap(), whole(text));
    }

    #[test]
    fn long_entries_are_not_remembered_and_the_others_bounded() {
        let mut reader = EntryReader::new("routes");
        reader.read(&format!("- from: {}\n", "a".repeat(LONGEST_KNOWN))).unwrap();
        assert_eq!(reader.known.len(), 0);
        for number in 0..3 * MOST_KNOWN {
            reader.read(&format!("- from: a{number}\n")).unwrap();
            assert!(reader.known.len() <= MOST_KNOWN);
        }
    }

    #[test]
    fn what_cannot_be_cut_is_left_to_others() {
        for text in [
            "- from: a\n  from: b\n",
            "- from: a\n  From: b\n",
            "- from: 'a\n- to: b'\n",
            "- from: [a\n- to: b]\n",
            "- from: a",
            "- from: a\r- to: b\n",
            "- from: a\u{2028}- to: b\n",
            "- ? from\n  : a\n",
            "- <<: {from: a}\n",
            "- from: a\n to: b\n",
            "- a\n",
            "- from: !tag a\n",
            "- from: a: b\n",
            "-\n  from: a\n",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_entry_that_is_a_url_needs_no_parser() {
        for (text, is_simple) in [
            ("from: https://*.a.test:8443\n", true),
            ("to: http://10.0.0.1/a_b-c\n\n", true),
            ("prefix: /\n", true),
            ("from: https://a.test", false),
            ("from: https://a.test:\n", false),
            ("from: https://a.test #\n", false),
            ("from: https://a.test\n  b\n", false),
            ("from: 'https://a.test'\n", false),
            ("from:  https://a.test\n", false),
            ("name: https://a.test\n", false),
            ("prefix: 1\n", false),
        ] {
            assert_eq!(Entry::simple(text).is_some(), is_simple, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_needs_no_parser_is_what_the_parser_says(
            text in "(from|to|path): ?(https?://|/)[a1.:/*_ #\n'\",-]{0,6}\n{0,2}",
        ) {
            if let Some(Entry { key, value }) = Entry::simple(&text) {
                let element = Value::Mapping([(key, value)].into_iter().collect());
                prop_assert_eq!(Some(vec![element]), plain_values(&format!("- {text}"), "routes"));
            }
        }

        #[test]
        fn what_is_read_by_entries_is_what_the_whole_says(
            lines in prop::collection::vec(
                "(- |  |  - |    |)[ab]{0,1}(: |:|)['\"\\[{|>#-]?[ab ]{0,3}['\"\\]},:]?", 1..10),
            before in prop::collection::vec("(- |  )[ab]: ['\"]?[ab]['\"]?", 0..4),
        ) {
            let mut reader = EntryReader::new("routes");
            reader.read(&format!("{}\n", before.join("\n")));
            let text = format!("- a: b\n{}\n", lines.join("\n"));
            if let Some(values) = read_with(&mut reader, &text) {
                prop_assert_eq!(Some(values), plain_values(&text, "routes"), "{}", text);
            }
        }
    }
}
