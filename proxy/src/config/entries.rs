//! Reads the elements of a list by their entries (`key: value`), each text of an entry once: of
//! 100,000 routes most say the same as others in most of their lines, and parsing YAML is what takes
//! the time of a load.
//!
//! The text is cut at the lines at which an entry begins. What such a line means is left to the
//! parser of YAML: a construct of several lines that swallows the next entry, or anything else that
//! cannot be cut, shows in the number of entries that it finds, and the piece is then read as a whole.

use std::{
    collections::{HashMap, HashSet},
    rc::Rc,
};

use serde_yaml::{Mapping, Value};

use super::pieces::plain_values;

/// How many entries are remembered at most, and of which length in bytes.
const MOST_KNOWN: usize = 4096;
const LONGEST_KNOWN: usize = 256;

/// Reads the elements of one list, and remembers its entries.
#[derive(Debug)]
pub(super) struct EntryReader {
    /// The key of the list.
    pub(super) key: &'static str,
    /// By their text.
    known: HashMap<Box<str>, Rc<Entry>>,
}

/// A key with its value.
#[derive(Debug)]
struct Entry(Value, Value);

/// The texts of the entries of each element.
type Elements<'t> = Vec<Vec<&'t str>>;

/// The column of the dashes.
type Indent = usize;

impl EntryReader {
    /// Nothing is known yet.
    pub(super) fn new(key: &'static str) -> EntryReader {
        EntryReader { key, known: HashMap::new() }
    }

    /// The elements of a piece of the list; `None` where it cannot be cut, or is not plainly good.
    pub(super) fn read(&mut self, piece: &str) -> Option<Vec<Value>> {
        let (indent, elements) = cut(piece)?;
        let fresh = self.parse(indent, &elements)?;
        let element = |entries: &Vec<&str>| {
            let mut mapping = Mapping::with_capacity(entries.len());
            for text in entries {
                let entry = fresh.get(text).or_else(|| self.known.get(*text))?;
                let Entry(key, value) = &**entry;
                if mapping.insert(key.clone(), value.clone()).is_some() {
                    return None;
                }
            }
            Some(Value::Mapping(mapping))
        };
        let values = elements.iter().map(element).collect();
        self.remember(fresh);
        values
    }

    /// Parses the entries that are not known.
    fn parse<'t>(
        &self,
        indent: Indent,
        elements: &Elements<'t>,
    ) -> Option<HashMap<&'t str, Rc<Entry>>> {
        let mut fresh = HashSet::new();
        let mut texts = Vec::new();
        let mut document = String::new();
        for text in elements.iter().flatten().filter(|text| !self.known.contains_key(**text)) {
            if fresh.insert(*text) {
                texts.push(*text);
                document.extend([&" ".repeat(indent), "- ", text]);
            }
        }
        let values = if texts.is_empty() { Vec::new() } else { plain_values(&document, self.key)? };
        if values.len() != texts.len() {
            return None;
        }
        let parsed = texts.into_iter().zip(values);
        parsed.map(|(text, value)| Some((text, Rc::new(Entry::of(value)?)))).collect()
    }

    fn remember(&mut self, fresh: HashMap<&str, Rc<Entry>>) {
        if self.known.len() + fresh.len() > MOST_KNOWN {
            self.known.clear();
        }
        let short = fresh.into_iter().filter(|(text, _)| text.len() <= LONGEST_KNOWN);
        self.known.extend(short.map(|(text, entry)| (text.into(), entry)));
    }
}

impl Entry {
    /// Of a mapping that has nothing else.
    fn of(value: Value) -> Option<Entry> {
        let Value::Mapping(mapping) = value else { return None };
        let mut entries = mapping.into_iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Some(Entry(key, value)),
            _ => None,
        }
    }
}

/// Cuts a block sequence of block mappings at the lines at which their entries begin. `None` where
/// another line is out of the way, or where lines may end at other characters.
fn cut(piece: &str) -> Option<(Indent, Elements<'_>)> {
    let is_cut_by_others = piece.contains('\r')
        || !piece.is_ascii() && piece.contains(['\u{85}', '\u{2028}', '\u{2029}']);
    if is_cut_by_others || !piece.ends_with('\n') {
        return None;
    }
    let indent = piece.lines().find(|line| !is_blank(line)).map(depth)?;
    let mut elements: Elements<'_> = Vec::new();
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
fn end<'t>(elements: &mut Elements<'t>, piece: &'t str, begin: Option<usize>, end: usize) {
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

    fn read(text: &str) -> Option<Vec<Value>> {
        EntryReader::new("routes").read(text)
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
        let text = "- from: a\n  to: b\n- from: c\n  to: b\n";
        assert_eq!(reader.read(text).unwrap(), whole(text));
        assert_eq!(reader.known.len(), 3);
        let (indent, elements) = cut(text).unwrap();
        assert!(reader.parse(indent, &elements).unwrap().is_empty());
        assert_eq!(reader.read(text).unwrap(), whole(text));
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

    proptest! {
        #[test]
        fn what_is_read_by_entries_is_what_the_whole_says(
            lines in prop::collection::vec(
                "(- |  |  - |    |)[ab]{0,1}(: |:|)['\"\\[{|>#-]?[ab ]{0,3}['\"\\]},:]?", 1..10),
            before in prop::collection::vec("(- |  )[ab]: ['\"]?[ab]['\"]?", 0..4),
        ) {
            let mut reader = EntryReader::new("routes");
            reader.read(&format!("{}\n", before.join("\n")));
            let text = format!("- a: b\n{}\n", lines.join("\n"));
            if let Some(values) = reader.read(&text) {
                prop_assert_eq!(Some(values), plain_values(&text, "routes"), "{}", text);
            }
        }
    }
}
