//! A long list of routes, read in pieces: the values of a piece are made on a thread of their own
//! while the piece before is checked, and freed after that, so that the values of 100,000 routes
//! are never in memory at once.
//!
//! The text is cut at lines that begin an element of the list. Such a line may stand within a
//! construct that began before it (a quoted text of several lines, brackets); then the piece before
//! it does not end as YAML must, and the whole document is read in one. So it is whenever a piece
//! is not plainly good: only the scan of the whole document knows what to say of it.

use std::{ops::Range, sync::mpsc, thread};

use serde_yaml::Value;

use super::{
    elements::CurrentElement,
    entries::{EntryReader, ListElement},
    file::{fold_keys, is_plain},
    places::MAX_DEPTH,
};

/// The lists that may be long.
const LISTS: [&str; 2] = ["policy", "routes"];

/// What a piece has at least, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// How many pieces are ready at most before the one that is checked.
const READY: usize = 2;

/// A list of a document that is still text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LongList {
    /// The key whose value it is.
    pub(super) key: &'static str,
    /// The number of its elements.
    pub(super) len: usize,
    /// The places of its pieces in the text, in order.
    pieces: Vec<Range<usize>>,
}

/// A piece of a list that has to be read with the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotApart;

impl LongList {
    /// The first long list of a text without anchors; `None` where there is none that can be cut.
    pub(super) fn find(text: &str) -> Option<LongList> {
        LongList::find_pieces(text, PIECE_BYTES)
    }

    fn find_pieces(text: &str, piece_bytes: usize) -> Option<LongList> {
        // Directives, and further documents.
        let is_marked = ["%", "---", "..."].into_iter().any(|mark| has_line(text, mark));
        if text.len() < 2 * piece_bytes || is_marked {
            return None;
        }
        LISTS.into_iter().find_map(|key| {
            let start = start_of(text, key)?;
            let (pieces, len) = cut(text, start, piece_bytes);
            (pieces.len() > 1).then_some(LongList { key, len, pieces })
        })
    }

    /// The text without the list: its key has no value.
    pub(super) fn rest(&self, text: &str) -> String {
        let before = self.pieces.first().and_then(|first| text.get(..first.start));
        let after = self.pieces.last().and_then(|last| text.get(last.end..));
        [before, after].into_iter().flatten().collect()
    }

    /// Takes all elements in order, as values with known keys in lower case.
    pub(super) fn read(&self, text: &str, mut take: impl FnMut(&Value)) -> Result<(), NotApart> {
        thread::scope(|scope| {
            let (ready, pieces) = mpsc::sync_channel(READY);
            scope.spawn(move || {
                let mut reader = EntryReader::new(self.key);
                for piece in &self.pieces {
                    let piece = text.get(piece.clone());
                    let elements = piece.and_then(|piece| elements(piece, &mut reader));
                    // The reader has given up.
                    if ready.send(elements).is_err() {
                        return;
                    }
                }
            });
            let mut current = CurrentElement::default();
            for elements in pieces {
                for element in elements.ok_or(NotApart)? {
                    take(current.take(element).ok_or(NotApart)?);
                }
            }
            Ok(())
        })
    }
}

/// Where the lines below `key:` begin.
fn start_of(text: &str, key: &str) -> Option<usize> {
    let line = format!("{key}:");
    if !has_line(text, &line) {
        return None;
    }
    let mut at = 0;
    for candidate in text.split_inclusive('\n') {
        at += candidate.len();
        if candidate.trim_end() == line {
            return Some(at);
        }
    }
    None
}

/// Whether a line begins with this.
fn has_line(text: &str, start: &str) -> bool {
    text.starts_with(start) || text.contains(&format!("\n{start}"))
}

/// Cuts the block sequence that begins at `start` before elements, each piece as short as it may be.
/// Gives the number of elements too.
fn cut(text: &str, start: usize, piece_bytes: usize) -> (Vec<Range<usize>>, usize) {
    let (mut pieces, mut elements) = (Vec::new(), 0);
    let mut indent = None;
    let (mut begin, mut at) = (start, start);
    for line in text.get(start..).unwrap_or_default().split_inclusive('\n') {
        let content = line.trim_start_matches(' ');
        let depth = line.len() - content.len();
        let is_element = content.starts_with("- ");
        let is_blank = content.trim_end().is_empty() || content.starts_with('#');
        match indent {
            _ if is_blank => {}
            None if is_element => indent = Some(depth),
            None => return (Vec::new(), 0),
            Some(indent) if depth < indent || depth == indent && !is_element => break,
            Some(indent) if depth == indent && at - begin >= piece_bytes => {
                pieces.push(begin..at);
                begin = at;
            }
            Some(_) => {}
        }
        elements += usize::from(is_element && indent == Some(depth));
        at += line.len();
    }
    if at > begin {
        pieces.push(begin..at);
    }
    (pieces, elements)
}

/// The elements of a piece; `None` where it is not a list that is plainly good.
fn elements(piece: &str, reader: &mut EntryReader) -> Option<Vec<ListElement>> {
    reader.read(piece).or_else(|| {
        let values = plain_values(piece, reader.key)?;
        Some(values.into_iter().map(ListElement::Whole).collect())
    })
}

/// The elements of a list; `None` where it is not a list that is plainly good.
pub(super) fn plain_values(piece: &str, key: &str) -> Option<Vec<Value>> {
    let value: Value = serde_yaml::from_str(piece).ok()?;
    if !is_plain(&value, MAX_DEPTH - 1) {
        return None;
    }
    let (value, clashes) = fold_keys(value, key);
    match value {
        Value::Sequence(values) if clashes.is_empty() => Some(values),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The document as read in pieces of so many bytes; `None` where it cannot be.
    fn in_pieces(text: &str, piece_bytes: usize) -> Option<Value> {
        let list = LongList::find_pieces(text, piece_bytes)?;
        let mut rest: Value = serde_yaml::from_str(&list.rest(text)).ok()?;
        let mut elements = Vec::new();
        list.read(text, |value| elements.push(value.clone())).ok()?;
        let slot = rest.get_mut(list.key).filter(|value| value.is_null())?;
        *slot = Value::Sequence(elements);
        Some(rest)
    }

    fn whole(text: &str) -> Option<Value> {
        serde_yaml::from_str(text).ok()
    }

    #[test]
    fn a_list_read_in_pieces_is_the_list() {
        for indent in ["", "  "] {
            let element = |n: u32| format!("{indent}- from: a{n}\n{indent}  to: [b, c]\n");
            let list: String = (0..100).map(element).collect();
            let text = format!("a: 1\nroutes:\n# first\n{list}\nb:\n- 1\n- 2\n");
            let list = LongList::find_pieces(&text, 100).unwrap();
            assert!(list.pieces.len() > 10, "{}", list.pieces.len());
            assert_eq!(list.len, 100);
            assert_eq!(in_pieces(&text, 100), whole(&text));
            assert!(whole(&text).is_some());
        }
    }

    #[test]
    fn a_line_within_a_construct_that_began_before_is_no_element() {
        for begun in ["'a\n\n- b'", "\"a\n- b\"", "[a,\n- b]", "{a:\n- b}"] {
            let text = format!("routes:\n- x: {begun}\n- y: 1\n- z: 1\n");
            assert!(in_pieces(&text, 1).is_none(), "{text}");
        }
        let text = "routes:\n- x: |\n    a\n    - b\n- y: >\n   c\n   - d\n- z: a\n   b\n- y: z\n";
        assert_eq!(in_pieces(text, 1), whole(text));
    }

    #[test]
    fn what_only_a_scan_can_say_is_read_as_a_whole() {
        for list in ["- a: 1\n  a: 2\n", "- 1: a\n", "- From: a\n  from: b\n", "- a\n- {\n"] {
            let text = format!("routes:\n- x: 1\n{list}");
            assert_eq!(in_pieces(&text, 1), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_in_pieces_is_what_the_whole_says(
            lines in prop::collection::vec(
                "(  )?(- )?(- )?[ab'\"\\[\\]{},|>#:-]{0,5}(: ?)?[ab'\"\\[\\]{},|>#-]{0,5}", 1..12),
        ) {
            let text = format!("routes:\n- a: b\n{}\n", lines.join("\n"));
            if let Some(value) = in_pieces(&text, 1) {
                prop_assert_eq!(Some(value), whole(&text), "{}", text);
            }
        }
    }
}
