//! Checks that each visible type name is defined once.

use std::collections::BTreeMap;

use super::tree::SourceFile;

/// A name that more than one file may define.
pub(super) struct Exception {
    pub(super) name: &'static str,
    /// Why the name is right for both types.
    pub(super) reason: &'static str,
}

/// One line for each name that is defined twice without an exception, and for each exception that
/// is not needed any more.
pub(super) fn problems(files: &[SourceFile], exceptions: &[Exception]) -> Vec<String> {
    let duplicates = duplicates(files);
    let unneeded = exceptions.iter().filter(|exception| !duplicates.contains_key(exception.name));
    let unneeded = unneeded.map(|exception| {
        let Exception { name, reason } = exception;
        format!("remove the exception for {name} ({reason}): it is not defined twice")
    });
    let is_meant = |name: &str| exceptions.iter().any(|exception| exception.name == name);
    let unmeant = duplicates.iter().filter(|(name, _)| !is_meant(name));
    unmeant
        .map(|(name, places)| format!("{name} is defined in {}", places.join(", ")))
        .chain(unneeded)
        .collect()
}

/// Each name that is defined more than once, and where.
fn duplicates(files: &[SourceFile]) -> BTreeMap<&str, Vec<String>> {
    let mut names: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for file in files {
        for definition in &file.items.types {
            let place = format!("{}:{}", file.path, definition.line);
            names.entry(definition.name.as_str()).or_default().push(place);
        }
    }
    names.retain(|_, places| places.len() > 1);
    names
}

#[cfg(test)]
mod tests {
    use super::{super::tree::parse, *};

    fn problems_in(texts: &[(&str, &str)], exceptions: &[Exception]) -> Vec<String> {
        let texts: Vec<_> =
            texts.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        problems(&parse(&texts), exceptions)
    }

    const TWICE: [(&str, &str); 3] = [
        ("a.rs", "pub struct Settings;"),
        ("b.rs", "\npub(super) enum Settings {}"),
        ("c.rs", "pub struct Once; struct Settings;"),
    ];

    #[test]
    fn a_name_that_two_files_define_is_a_problem() {
        assert_eq!(problems_in(&TWICE, &[]), ["Settings is defined in a.rs:1, b.rs:2"]);
    }

    #[test]
    fn a_name_may_be_defined_twice_by_exception() {
        let exception = Exception { name: "Settings", reason: "both are" };
        assert!(problems_in(&TWICE, &[exception]).is_empty());
    }

    #[test]
    fn an_exception_that_is_not_needed_is_a_problem() {
        let exception = Exception { name: "Settings", reason: "both are" };
        let expected = "remove the exception for Settings (both are): it is not defined twice";
        assert_eq!(problems_in(&TWICE[1..], &[exception]), [expected]);
    }
}
