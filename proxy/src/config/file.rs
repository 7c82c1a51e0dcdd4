//! From the text of the file to a mapping whose known keys are in lower case.

use std::{borrow::Cow, fmt, rc::Rc};

use serde_yaml::{Mapping, Value};

use super::{
    keys::{self, KeyTree, ValueKind},
    pieces::LongList,
    places::{self, MAX_DEPTH, Places, YamlFault, is_harmless, without_byte_order_mark},
    section, tabs, yaml_hints,
};

/// A document that has been read.
#[derive(Debug)]
pub(super) struct Document {
    /// Its one value.
    pub(super) value: Value,
    /// The lines of its keys.
    pub(super) places: Places,
    /// The list that was left as text, where it is long.
    pub(super) list: Option<LongList>,
}

/// Reads YAML: one document of modest depth and size, with no key twice.
///
/// Most documents are read once, by the parser that makes values. One that may be harmful is scanned
/// before, and one that is odd is scanned after, for the errors that only the scan finds.
pub(super) fn parse(whole: Rc<String>) -> Result<Document, Vec<YamlFault>> {
    let whole = with_separating_spaces(whole);
    let text = without_byte_order_mark(&whole);
    let value = parse_whole(text)?;
    Ok(Document { value, places: Places::of(whole), list: None })
}

/// The same, but for a long list of routes, which is left as text: to be read by
/// [`Places::read_list`], or, should that fail, to be parsed with the rest.
pub(super) fn parse_but_list(whole: Rc<String>) -> Result<Document, Vec<YamlFault>> {
    let whole = with_separating_spaces(whole);
    let text = without_byte_order_mark(&whole);
    let list = is_harmless(text).then(|| LongList::find(text)).flatten();
    let rest = list.as_ref().and_then(|list| parse_whole(&list.rest(text)).ok());
    match rest {
        Some(value) => Ok(Document { value, places: Places::of(whole), list }),
        None => parse(whole),
    }
}

fn with_separating_spaces(text: Rc<String>) -> Rc<String> {
    match tabs::as_spaces(&text) {
        Cow::Borrowed(_) => text,
        Cow::Owned(spaced) => Rc::new(spaced),
    }
}

fn parse_whole(text: &str) -> Result<Value, Vec<YamlFault>> {
    let harmless = is_harmless(text);
    if !harmless {
        places::scan(text)?;
    }
    let mut value: Value = match serde_yaml::from_str(text) {
        Ok(value) => value,
        // The scan words it better, where it finds the same.
        Err(error) => {
            return Err(places::scan(text).err().unwrap_or_else(|| vec![not_yaml(&error, text)]));
        }
    };
    if harmless && !is_plain(&value, MAX_DEPTH) {
        places::scan(text)?;
    }
    if text.contains("<<") {
        value.apply_merge().map_err(|error| vec![not_yaml(&error, text)])?;
    }
    Ok(value)
}

/// Whether all keys are text, and the collections are nested less deep than this.
pub(super) fn is_plain(value: &Value, depth: usize) -> bool {
    match value {
        Value::Sequence(items) => depth > 0 && items.iter().all(|item| is_plain(item, depth - 1)),
        Value::Mapping(mapping) => {
            let plain =
                |(key, value): (&Value, &Value)| key.is_string() && is_plain(value, depth - 1);
            depth > 0 && mapping.iter().all(plain)
        }
        Value::Tagged(_) => false,
        _ => true,
    }
}

fn not_yaml(error: &serde_yaml::Error, text: &str) -> YamlFault {
    let line = error.location().map_or(1, |place| places::fault_line(place.line(), text));
    let message = format!("this is not YAML: {error}");
    let hint = yaml_hints::hint(&message, line, text);
    YamlFault { line, key_path: String::new(), message, hint }
}

/// Puts the known keys at and below `key_path` into lower case, as Pomerium's loader does, and those
/// of messages into `snake_case`; keys that the user chooses (header names) stay as they are. Returns
/// the paths of keys that differ in spelling alone from one before, and of keys that are not text.
pub(super) fn fold_keys(mut value: Value, key_path: &str) -> (Value, Vec<(String, &'static str)>) {
    let mut clashes = Vec::new();
    if let Some(tree) = keys::tree_at(key_path) {
        fold(&mut value, tree, KeyPath::Root(key_path), &mut clashes);
    }
    (value, clashes)
}

type Clashes = Vec<(String, &'static str)>;

/// A path that is written out only where it is shown.
#[derive(Clone, Copy)]
enum KeyPath<'a> {
    Root(&'a str),
    Key(&'a KeyPath<'a>, &'a str),
    Element(&'a KeyPath<'a>, usize),
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPath::Root(path) => f.write_str(path),
            KeyPath::Key(KeyPath::Root(""), name) => f.write_str(name),
            KeyPath::Key(parent, name) => write!(f, "{parent}.{name}"),
            KeyPath::Element(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

fn fold(value: &mut Value, tree: &KeyTree, path: KeyPath<'_>, clashes: &mut Clashes) {
    match (tree.kind(), value) {
        (ValueKind::Section | ValueKind::Message, Value::Mapping(mapping)) => {
            fold_mapping(mapping, tree, path, clashes);
        }
        (ValueKind::Sections | ValueKind::Messages, Value::Sequence(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                if let Value::Mapping(mapping) = item {
                    fold_mapping(mapping, tree, KeyPath::Element(&path, index), clashes);
                }
            }
        }
        _ => {}
    }
}

fn fold_mapping(mapping: &mut Mapping, tree: &KeyTree, path: KeyPath<'_>, clashes: &mut Clashes) {
    if !mapping.keys().all(|key| is_folded(key, tree)) {
        *mapping = with_folded_keys(std::mem::take(mapping), tree, path, clashes);
    }
    for (key, value) in mapping.iter_mut() {
        let name = key.as_str().unwrap_or_default();
        if let Some(below) = tree.below(name) {
            fold(value, below, KeyPath::Key(&path, name), clashes);
        }
    }
}

fn is_folded(key: &Value, tree: &KeyTree) -> bool {
    let is_lower = |name: &str| name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    match key.as_str() {
        Some(name) if tree.is_message() => tree.below(name).is_some(),
        Some(name) => is_lower(name),
        None => false,
    }
}

/// The name of a key in the table; an unknown key of a message stays as it is written.
fn folded_name(name: &str, tree: &KeyTree) -> String {
    match tree.is_message() {
        true => tree.respelled(name).unwrap_or(name).to_owned(),
        false => name.to_lowercase(),
    }
}

fn with_folded_keys(
    mapping: Mapping,
    tree: &KeyTree,
    path: KeyPath<'_>,
    clashes: &mut Clashes,
) -> Mapping {
    let mut folded = Mapping::with_capacity(mapping.len());
    for (key, value) in mapping {
        let Some(name) = key.as_str() else {
            let shown = section::scalar_text(&key).unwrap_or("?".into());
            clashes
                .push((KeyPath::Key(&path, &shown).to_string(), "is a key that is not a string"));
            continue;
        };
        let name = folded_name(name, tree);
        let key_path = KeyPath::Key(&path, &name).to_string();
        if folded.insert(Value::String(name), value).is_some() {
            let problem = match tree.is_message() {
                true => "is given twice, in different spellings",
                false => "is given twice, in different upper and lower case",
            };
            clashes.push((key_path, problem));
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> (Value, Vec<(String, &'static str)>) {
        fold_keys(parse(text.to_owned().into()).unwrap().value, "")
    }

    #[test]
    fn known_keys_lose_their_case_and_header_names_keep_it() {
        let (value, clashes) = folded(
            "Routes:\n  - FROM: https://A\n    Set_Request_Headers: {X-Up: Value}\n\
             Downstream_MTLS: {CA_File: x}\n",
        );
        let expected: Value = serde_yaml::from_str(
            "routes:\n  - from: https://A\n    set_request_headers: {X-Up: Value}\n\
             downstream_mtls: {ca_file: x}\n",
        )
        .unwrap();
        assert_eq!(value, expected);
        assert!(clashes.is_empty());
    }

    #[test]
    fn keys_that_differ_in_case_alone_clash() {
        let (_, clashes) = folded("address: a\nAddress: b\nroutes: [{from: a, From: b}]\n");
        let paths: Vec<&str> = clashes.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["address", "routes[0].from"]);
    }

    #[test]
    fn merge_keys_are_merged() {
        let (value, _) = folded("routes:\n  - &a {from: x, timeout: 3s}\n  - {<<: *a, from: y}\n");
        assert_eq!(value["routes"][1]["timeout"], "3s");
        assert_eq!(value["routes"][1]["from"], "y");
    }

    #[test]
    fn every_form_of_a_document_is_read() {
        for text in [
            "\u{feff}address: x\n",
            "\u{feff}# a comment\r\naddress: x\r\n",
            "address: x\r\n",
            "address: x",
            "---\naddress: x\n...\n",
            "--- # a comment\naddress: x\n...\n# another\n",
            "%YAML 1.2\n---\naddress: x\n",
            "%YAML 1.1\n---\naddress: x\n",
            "%TAG !e! tag:e.test,2026:\n---\naddress: x\n",
            "address:\tx\t# a comment\n",
            "address: &a\tx\n",
        ] {
            let document = parse(text.to_owned().into());
            let document = document.unwrap_or_else(|faults| panic!("{text}: {faults:?}"));
            assert_eq!(document.value["address"], "x", "{text}");
            assert!(document.places.line("address").is_some(), "{text}");
        }
    }

    #[test]
    fn a_list_with_tabs_is_read_and_its_lines_are_known() {
        let text = "routes:\n-\tx\n# c\n- from:\thttps://a\n  to:\n  -\thttp://b\n";
        for read in [parse, parse_but_list] {
            let document = read(text.to_owned().into()).unwrap();
            assert_eq!(document.value["routes"][1]["to"][0], "http://b");
            assert_eq!(document.places.line("routes[1].to[0]"), Some(6));
        }
    }

    fn scramble(name: &str, upper: &[bool]) -> String {
        let mut flips = upper.iter().cycle();
        name.chars()
            .map(|c| if *flips.next().unwrap() { c.to_ascii_uppercase() } else { c })
            .collect()
    }

    proptest! {
        #[test]
        fn a_known_key_is_known_in_any_case(
            name in prop::sample::select(vec!["address", "codec_type", "downstream_mtls", "routes"]),
            upper in prop::collection::vec(any::<bool>(), 1..8),
        ) {
            let mapping = Mapping::from_iter([(Value::from(scramble(name, &upper)), Value::Null)]);
            let (value, _) = fold_keys(Value::Mapping(mapping), "");
            prop_assert_eq!(value, Value::Mapping(Mapping::from_iter([(Value::from(name), Value::Null)])));
        }

        #[test]
        fn folding_twice_changes_nothing_more(
            upper in prop::collection::vec(any::<bool>(), 1..20),
            header in "[A-Za-z-]{1,12}",
        ) {
            let text = format!(
                "{}:\n  - {}: {{{header}: v}}\n",
                scramble("routes", &upper),
                scramble("set_response_headers", &upper),
            );
            let (once, _) = folded(&text);
            let (twice, clashes) = fold_keys(once.clone(), "");
            prop_assert_eq!(&once, &twice);
            prop_assert!(clashes.is_empty());
            prop_assert_eq!(&once["routes"][0]["set_response_headers"][header.as_str()], &Value::from("v"));
        }

        #[test]
        fn any_text_is_parsed_without_a_panic(text in "[-a:\\[\\]{}&*!|>'\"#%@` \\n\\t,?0~<]{0,120}") {
            if let Ok(document) = parse(text.to_owned().into()) {
                let _ = fold_keys(document.value, "");
            }
        }
    }
}
