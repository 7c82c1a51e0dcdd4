//! The line of each key, and whether a document is fit to be read at all.
//!
//! [`scan`] is one pass over the events of the YAML: it rejects a document that would cost too much
//! (deep nesting, aliases that multiply), finds every key that is written twice, and notes the line
//! of each key path. Values never come from here. The pass takes longer than reading the values, so
//! it runs only for a document that may be harmful, or for a diagnostic.

use std::{cell::OnceCell, collections::HashMap, rc::Rc};

use saphyr_parser::{Event, Parser, ScanError, Span};
use serde_yaml::Value;

use super::{
    keys::plain_letters,
    pieces::{LongList, NotApart},
    yaml_hints,
};

/// The deepest nesting: a configuration needs about eight.
pub(super) const MAX_DEPTH: usize = 64;

/// The most nodes, each alias counted as all it stands for: some two hundred thousand full routes.
const MAX_NODES: u64 = 4_000_000;

/// The text of a document, in which the lines of keys are looked up when a diagnostic needs one.
#[derive(Debug, Default)]
pub(super) struct Places {
    text: Rc<String>,
    lines: OnceCell<KeyLines>,
}

impl Places {
    /// Of a text that was read without a scan.
    pub(super) fn of(text: Rc<String>) -> Places {
        Places { text, lines: OnceCell::new() }
    }

    /// Takes the elements of a list that was left as text.
    pub(super) fn read_list(
        &self,
        list: &LongList,
        take: impl FnMut(&Value),
    ) -> Result<(), NotApart> {
        list.read(without_byte_order_mark(&self.text), take)
    }

    /// The line of a key, or of the nearest key around it that is in the file.
    pub(super) fn line(&self, key_path: &str) -> Option<u32> {
        let scan = || scan(without_byte_order_mark(&self.text)).unwrap_or_default();
        self.lines.get_or_init(scan).line(key_path)
    }
}

/// The text without the byte order mark that some editors put before it.
pub(super) fn without_byte_order_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// Whether a document is surely cheap to read, so that no [`scan`] has to count it before its values
/// are built: no anchor, so that each value stands in the text, few places at which a value can
/// begin, and little nesting, whose cost to the parser of values is more than linear.
///
/// At most so many nodes are in a text without aliases: one at the beginning of each line and after
/// each indicator, one more where a collection may begin at the same place, or where a key in braces
/// has no value. Nothing is nested deeper than brackets are, or than a line is indented, which grows
/// by a column or more for each level.
pub(super) fn is_harmless(text: &str) -> bool {
    let text = text.as_bytes();
    let (mut nodes, mut open_brackets) = (2, 0_usize);
    if is_deep(text) {
        return false;
    }
    let indicators = text.iter().enumerate().filter(|(_, byte)| INDICATORS[usize::from(**byte)]);
    for (at, byte) in indicators {
        let after = || text.get(at + 1).copied().unwrap_or(b'\n');
        let before = || at.checked_sub(1).and_then(|at| text.get(at)).copied().unwrap_or(b'\n');
        nodes += match byte {
            b'&' => return false,
            b'\n' | b'\r' if is_deep(text.get(at + 1..).unwrap_or_default()) => return false,
            b'\n' | b'\r' => 1,
            b'[' | b'{' => {
                open_brackets += 1;
                2
            }
            b']' | b'}' => {
                open_brackets = open_brackets.saturating_sub(1);
                0
            }
            b',' => 2,
            b'-' | b'?' if after().is_ascii_whitespace() => 2,
            // Not in `https://` or in `a:b`, but in `"a":b`.
            b':' if !matches!(after(), b'/' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
                || matches!(before(), b'"' | b'\'' | b']' | b'}') =>
            {
                1
            }
            _ => 0,
        };
        if open_brackets >= MAX_DEPTH || nodes > MAX_NODES {
            return false;
        }
    }
    true
}

/// The bytes that [`is_harmless`] looks at: few of a text, which has 40 MiB with 100,000 routes.
const INDICATORS: [bool; 256] = {
    let mut indicators = [false; 256];
    let looked_at = b"&\n\r[]{},-?:";
    let mut next = 0;
    while next < looked_at.len() {
        indicators[looked_at[next] as usize] = true;
        next += 1;
    }
    indicators
};

/// Whether the line at the beginning may be nested as deep as [`MAX_DEPTH`].
fn is_deep(text: &[u8]) -> bool {
    let indentation = text.iter().take_while(|byte| matches!(byte, b' ' | b'-' | b'?'));
    indentation.take(MAX_DEPTH).count() == MAX_DEPTH
}

/// The line of every key path. Letter case and `_` do not matter: keys have several spellings.
#[derive(Debug, Default)]
pub(super) struct KeyLines {
    lines: HashMap<String, u32>,
}

impl KeyLines {
    fn note(&mut self, key_path: &str, line: u32) {
        self.lines.entry(plain_letters(key_path).collect()).or_insert(line);
    }

    /// The line of a key, or of the nearest key around it that is in the file.
    pub(super) fn line(&self, key_path: &str) -> Option<u32> {
        let mut path: String = plain_letters(key_path).collect();
        loop {
            if let Some(line) = self.lines.get(&path) {
                return Some(*line);
            }
            let parent_end = path.rfind(['.', '['])?;
            path.truncate(parent_end);
        }
    }
}

/// What is wrong with a document before its values are looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct YamlFault {
    /// Counted from 1.
    pub(super) line: u32,
    /// The key path, where one key is at fault.
    pub(super) key_path: String,
    /// What is wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

/// Reads the lines of all keys of a document; or everything that is wrong with it.
pub(super) fn scan(text: &str) -> Result<KeyLines, Vec<YamlFault>> {
    let mut scan = Scan::default();
    let mut parser = Parser::new_from_str(text);
    while let Some(step) = parser.next_event() {
        let outcome = match step {
            Ok((event, span)) => scan.take(&event, span),
            Err(error) => Err(not_yaml(&error, text)),
        };
        if let Err(fault) = outcome {
            scan.faults.push(fault);
            break;
        }
    }
    if scan.faults.is_empty() { Ok(scan.lines) } else { Err(scan.faults) }
}

#[derive(Default)]
struct Scan {
    lines: KeyLines,
    faults: Vec<YamlFault>,
    stack: Vec<Frame>,
    /// Nodes so far, aliases counted as what they stand for.
    nodes: u64,
    /// What each finished anchor stands for.
    anchors: HashMap<usize, Extent>,
    documents: usize,
}

/// The size of a node with all that is in it.
#[derive(Clone, Copy)]
struct Extent {
    nodes: u64,
    height: usize,
}

/// A collection that is still open.
struct Frame {
    path: String,
    kind: FrameKind,
    anchor: usize,
    nodes_before: u64,
    /// Height of the tallest child so far.
    height: usize,
}

enum FrameKind {
    Sequence { next: usize },
    Mapping { pending: Option<String>, seen: HashMap<String, u32> },
}

/// What a new node is to the collection around it.
enum Role {
    Key,
    Value(String),
}

impl Scan {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), YamlFault> {
        let line = line_number(span.start.line());
        match event {
            Event::Scalar(text, _, anchor, _) => {
                self.count(1, line)?;
                let extent = Extent { nodes: 1, height: 0 };
                self.anchors.insert(*anchor, extent);
                self.leaf(text, extent, line);
                Ok(())
            }
            Event::Alias(anchor) => self.alias(*anchor, line),
            Event::SequenceStart(anchor, _) => {
                self.open(FrameKind::Sequence { next: 0 }, *anchor, line)
            }
            Event::MappingStart(anchor, _) => {
                let kind = FrameKind::Mapping { pending: None, seen: HashMap::new() };
                self.open(kind, *anchor, line)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close();
                Ok(())
            }
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents > 1 {
                    return Err(fault(
                        line,
                        "a second YAML document begins here; only one is allowed",
                    ));
                }
                Ok(())
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
        }
    }

    fn count(&mut self, nodes: u64, line: u32) -> Result<(), YamlFault> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            let message = format!("the file has more than {MAX_NODES} values, aliases counted");
            return Err(fault(line, &message));
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, line: u32) -> Result<(), YamlFault> {
        let extent = *self
            .anchors
            .get(&anchor)
            .ok_or_else(|| fault(line, "an alias is inside the value that it refers to"))?;
        if self.stack.len() + extent.height > MAX_DEPTH {
            return Err(too_deep(line));
        }
        self.count(extent.nodes, line)?;
        self.leaf("*", extent, line);
        Ok(())
    }

    fn leaf(&mut self, text: &str, extent: Extent, line: u32) {
        if let Role::Key = self.role(line) {
            self.key(text, line);
        }
        if let Some(frame) = self.stack.last_mut() {
            frame.height = frame.height.max(extent.height + 1);
        }
    }

    fn open(&mut self, kind: FrameKind, anchor: usize, line: u32) -> Result<(), YamlFault> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(too_deep(line));
        }
        let path = match self.role(line) {
            Role::Value(path) => path,
            // A collection as a key: it is refused later, with the mapping it is in.
            Role::Key => {
                self.key("?", line);
                String::new()
            }
        };
        let nodes_before = self.nodes;
        self.count(1, line)?;
        self.stack.push(Frame { path, kind, anchor, nodes_before, height: 0 });
        Ok(())
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let extent = Extent { nodes: self.nodes - frame.nodes_before, height: frame.height };
        // Anchor 0 is "none"; nothing refers to it.
        self.anchors.insert(frame.anchor, extent);
        if let Some(around) = self.stack.last_mut() {
            around.height = around.height.max(frame.height + 1);
        }
    }

    /// Says what the next node is, and notes its place where it is an element.
    fn role(&mut self, line: u32) -> Role {
        let Some(frame) = self.stack.last_mut() else {
            return Role::Value(String::new());
        };
        match &mut frame.kind {
            FrameKind::Sequence { next } => {
                let path = format!("{}[{next}]", frame.path);
                *next += 1;
                self.lines.note(&path, line);
                Role::Value(path)
            }
            FrameKind::Mapping { pending, .. } => match pending.take() {
                Some(key) => Role::Value(join(&frame.path, &key)),
                None => Role::Key,
            },
        }
    }

    /// Notes a key, and whether it has been there before.
    fn key(&mut self, key: &str, line: u32) {
        let Some(Frame { path, kind: FrameKind::Mapping { pending, seen }, .. }) =
            self.stack.last_mut()
        else {
            return;
        };
        let key_path = join(path, key);
        *pending = Some(key.to_owned());
        self.lines.note(&key_path, line);
        if let Some(first) = seen.insert(key.to_owned(), line) {
            let message = format!("is written twice, first in line {first}");
            self.faults.push(YamlFault { line, key_path, message, hint: None });
        }
    }
}

/// The path of a key in the mapping at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn fault(line: u32, message: &str) -> YamlFault {
    YamlFault { line, key_path: String::new(), message: message.to_owned(), hint: None }
}

fn not_yaml(error: &ScanError, text: &str) -> YamlFault {
    let line = fault_line(error.marker().line(), text);
    // The scanner reads ahead, and has a limit of its own.
    if error.info().contains("recursion limit") {
        return too_deep(line);
    }
    let hint = yaml_hints::hint(error.info(), line, text);
    YamlFault { hint, ..fault(line, &format!("this is not YAML: {}", error.info())) }
}

fn too_deep(line: u32) -> YamlFault {
    fault(line, &format!("nested more than {MAX_DEPTH} levels deep"))
}

/// The line of a fault. What is missing at the end of a text may be reported below its last line.
pub(super) fn fault_line(line: usize, text: &str) -> u32 {
    line_number(line.min(text.split('\n').count()))
}

fn line_number(line: usize) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
