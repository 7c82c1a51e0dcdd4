//! From the text of the file to a mapping whose known keys are in lower case.

use serde_yaml::{Mapping, Value};

use super::{
    keys::{self, Kind},
    places::{self, Fault, Places, join},
    section,
};

/// A document that has been read.
#[derive(Debug)]
pub(super) struct Document {
    /// Its one value.
    pub(super) value: Value,
    /// Where its keys stand.
    pub(super) places: Places,
}

/// Reads YAML: one document of modest depth and size, with no key twice.
pub(super) fn parse(text: &str) -> Result<Document, Vec<Fault>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let places = places::scan(text)?;
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| vec![not_yaml(&error)])?;
    value.apply_merge().map_err(|error| vec![not_yaml(&error)])?;
    Ok(Document { value, places })
}

fn not_yaml(error: &serde_yaml::Error) -> Fault {
    let line = error.location().map_or(1, |place| u32::try_from(place.line()).unwrap_or(u32::MAX));
    Fault { line, key_path: String::new(), message: format!("this is not YAML: {error}") }
}

/// Puts the known keys at and below `key_path` into lower case, as Pomerium's loader does; keys
/// that the user chooses (header names) stay as they are. Returns the paths of keys that differ in
/// case alone from one before, and of those that are no text.
pub(super) fn fold_keys(value: Value, key_path: &str) -> (Value, Vec<(String, &'static str)>) {
    let mut clashes = Vec::new();
    let value = fold(value, key_path, &mut clashes);
    (value, clashes)
}

fn fold(value: Value, key_path: &str, clashes: &mut Vec<(String, &'static str)>) -> Value {
    match (keys::kind_at(key_path), value) {
        (Some(Kind::Section), Value::Mapping(mapping)) => {
            Value::Mapping(fold_mapping(mapping, key_path, clashes))
        }
        (Some(Kind::Sections), Value::Sequence(items)) => {
            let fold_item = |(index, item)| match item {
                Value::Mapping(mapping) => {
                    let item_path = format!("{key_path}[{index}]");
                    Value::Mapping(fold_mapping(mapping, &item_path, clashes))
                }
                other => other,
            };
            Value::Sequence(items.into_iter().enumerate().map(fold_item).collect())
        }
        (_, value) => value,
    }
}

fn fold_mapping(
    mapping: Mapping,
    key_path: &str,
    clashes: &mut Vec<(String, &'static str)>,
) -> Mapping {
    let mut folded = Mapping::with_capacity(mapping.len());
    for (key, value) in mapping {
        let Some(name) = key.as_str() else {
            let shown = section::scalar_text(&key).unwrap_or("?".into());
            clashes.push((join(key_path, &shown), "is a key that is not text"));
            continue;
        };
        let name = name.to_lowercase();
        let path = join(key_path, &name);
        let value = fold(value, &path, clashes);
        if folded.insert(Value::String(name), value).is_some() {
            clashes.push((path, "is written twice, with upper and lower case mixed"));
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(text: &str) -> (Value, Vec<(String, &'static str)>) {
        fold_keys(parse(text).unwrap().value, "")
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
    fn a_byte_order_mark_is_skipped() {
        assert_eq!(parse("\u{feff}address: x\n").unwrap().value["address"], "x");
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
            if let Ok(document) = parse(&text) {
                let _ = fold_keys(document.value, "");
            }
        }
    }
}
