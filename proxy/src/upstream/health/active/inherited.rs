//! What one process tells the next one of its endpoints.

use std::collections::HashMap;

use super::{key::CheckKey, verdict::Verdict};

/// The most verdicts that are handed over.
const MOST: usize = 10_000;
/// The longest error that is, in characters.
const MAX_ERROR: usize = 100;

/// What a check has found, as far as it outlives a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KnownVerdict {
    pub(super) is_up: bool,
    /// Why it is down.
    pub(super) error: String,
}

impl KnownVerdict {
    pub(super) fn verdict(&self) -> Verdict {
        if self.is_up { Verdict::Up } else { Verdict::Down }
    }
}

/// One line of text for the verdicts: a JSON list of keys and errors, `null` for an endpoint that is up.
/// The endpoints that are down come first, since those are missed the most.
pub(super) fn write(verdicts: &HashMap<CheckKey, KnownVerdict>) -> String {
    let mut listed: Vec<_> = verdicts.iter().collect();
    listed.sort_by_key(|(_, known)| known.is_up);
    let item = |(key, known): &(&CheckKey, &KnownVerdict)| {
        (
            key.text(),
            (!known.is_up).then(|| known.error.chars().take(MAX_ERROR).collect::<String>()),
        )
    };
    let items: Vec<_> = listed.iter().take(MOST).map(item).collect();
    serde_json::to_string(&items).unwrap_or_default()
}

/// Reads the line. What cannot be read is not known.
pub(super) fn read(line: &str) -> HashMap<CheckKey, KnownVerdict> {
    let items: Vec<(String, Option<String>)> = serde_json::from_str(line).unwrap_or_default();
    let known = |(key, error): (String, Option<String>)| {
        let is_up = error.is_none();
        Some((CheckKey::parse(&key)?, KnownVerdict { is_up, error: error.unwrap_or_default() }))
    };
    items.into_iter().take(MOST).filter_map(known).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u128) -> CheckKey {
        CheckKey::parse(&format!("{number:032x}")).unwrap()
    }

    fn down(error: &str) -> KnownVerdict {
        KnownVerdict { is_up: false, error: error.to_owned() }
    }

    const UP: KnownVerdict = KnownVerdict { is_up: true, error: String::new() };

    #[test]
    fn verdicts_come_back_from_their_line() {
        let verdicts = HashMap::from([
            (key(1), UP),
            (key(u128::MAX), down("status 503")),
            (key(3), down("\"a\" b\n\u{e9}")),
        ]);
        let line = write(&verdicts);
        assert!(!line.contains('\n'));
        assert_eq!(read(&line), verdicts);
    }

    #[test]
    fn the_endpoints_that_are_down_come_before_the_limit() {
        let mut verdicts: HashMap<_, _> =
            (0..2 * MOST as u128).map(|number| (key(number), UP)).collect();
        verdicts.insert(key(7), down("x"));
        let read = read(&write(&verdicts));
        assert_eq!(read.len(), MOST);
        assert_eq!(read[&key(7)], down("x"));
    }

    #[test]
    fn other_lines_say_nothing() {
        for line in ["", "x", "[]", "[1]", "{}", "[[\"zz\", null]]", "[[\"1\", null]]"] {
            assert!(read(line).is_empty(), "{line}");
        }
    }
}
