//! Every key there is: ours, Pomerium's, and those Pomerium once had. One table says what each
//! means here; from it come the case folding, the environment variables, the warnings about
//! unknown keys, and the reference in `docs/configuration.md`.

mod global;
mod health_checks;
mod outlier_detection;
mod own;
mod route;

use std::{collections::HashMap, sync::LazyLock};

/// One key.
#[derive(Debug)]
pub(super) struct ConfigKey {
    /// `downstream_mtls.ca_file`; `[]` stands for every element of a list.
    pub(super) path: &'static str,
    /// The form of its value.
    pub(super) kind: ValueKind,
    /// What it is when absent, as shown in the reference; empty for nothing.
    pub(super) default: &'static str,
    /// What becomes of it.
    pub(super) status: KeyStatus,
    /// What it means, or why it is refused or without effect.
    pub(super) about: &'static str,
}

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// Text.
    Text,
    /// Path of a file.
    Path,
    /// Base64 of a PEM text, or of what the key says.
    Base64,
    /// `true` or `false`.
    Flag,
    /// A whole number.
    Number,
    /// A duration in Go's syntax.
    Duration,
    /// A list of texts.
    List,
    /// Names of the user's choice, with texts.
    Map,
    /// Either a `Map` or a `List`.
    MapOrList,
    /// Names of the user's choice, with lists.
    MapOfLists,
    /// A mapping whose keys are in the table.
    Section,
    /// A list of such mappings.
    Sections,
    /// A message of Envoy's in protobuf's JSON form: a section whose keys may be in `camelCase` too.
    Message,
    /// A list of such messages.
    Messages,
    /// Not looked into.
    Opaque,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyStatus {
    /// It does what `about` says.
    Supported,
    /// Known and without effect, which weakens nothing: all of them share one warning.
    Ignored,
    /// The same with a warning of its own, since somebody may rely on it.
    IgnoredAloud,
    /// Refused until it is implemented, because ignoring it would change who may do what.
    NotYet,
    /// Refused for good: it is gone from Pomerium too.
    Removed,
}

const fn key(
    path: &'static str,
    kind: ValueKind,
    default: &'static str,
    about: &'static str,
) -> ConfigKey {
    ConfigKey { path, kind, default, status: KeyStatus::Supported, about }
}

const fn ignored(path: &'static str) -> ConfigKey {
    ConfigKey { path, kind: ValueKind::Opaque, default: "", status: KeyStatus::Ignored, about: "" }
}

const fn aloud(path: &'static str, about: &'static str) -> ConfigKey {
    ConfigKey { path, kind: ValueKind::Opaque, default: "", status: KeyStatus::IgnoredAloud, about }
}

const fn not_yet(path: &'static str, about: &'static str) -> ConfigKey {
    ConfigKey { path, kind: ValueKind::Opaque, default: "", status: KeyStatus::NotYet, about }
}

const fn removed(path: &'static str, about: &'static str) -> ConfigKey {
    ConfigKey { path, kind: ValueKind::Opaque, default: "", status: KeyStatus::Removed, about }
}

/// Every key, in the order of the reference.
pub(super) fn all() -> impl Iterator<Item = &'static ConfigKey> {
    let routes = route::KEYS.iter().chain(health_checks::KEYS).chain(outlier_detection::KEYS);
    global::KEYS.iter().chain(routes).chain(own::KEYS)
}

/// The keys of a mapping, or of each mapping of a list, by name.
#[derive(Debug, Default)]
pub(super) struct KeyTree {
    /// `None` for the document itself.
    key: Option<&'static ConfigKey>,
    below: HashMap<&'static str, KeyTree>,
}

impl KeyTree {
    /// All keys.
    pub(super) fn root() -> &'static KeyTree {
        static ROOT: LazyLock<KeyTree> = LazyLock::new(|| {
            let mut root = KeyTree::default();
            for key in all() {
                root.insert(key.path, key);
                // The old list of routes has the same keys.
                if let Some(rest) = key.path.strip_prefix("routes[].") {
                    root.below.entry("policy").or_default().insert(rest, key);
                }
            }
            root
        });
        &ROOT
    }

    fn insert(&mut self, path: &'static str, key: &'static ConfigKey) {
        let (name, rest) = path.split_once('.').unwrap_or((path, ""));
        let below = self.below.entry(name.trim_end_matches("[]")).or_default();
        if rest.is_empty() { below.key = Some(key) } else { below.insert(rest, key) }
    }

    /// The key of this name in the mapping.
    pub(super) fn below(&self, name: &str) -> Option<&KeyTree> {
        self.below.get(name).filter(|tree| tree.key.is_some())
    }

    /// What is said of the key; `None` for the document itself.
    pub(super) fn key(&self) -> Option<&'static ConfigKey> {
        self.key
    }

    /// The form of the value.
    pub(super) fn kind(&self) -> ValueKind {
        self.key.map_or(ValueKind::Section, |key| key.kind)
    }

    /// Whether the keys below may be in `camelCase` too.
    pub(super) fn is_message(&self) -> bool {
        matches!(self.kind(), ValueKind::Message | ValueKind::Messages)
    }

    /// The key of a message that is meant by any of its spellings: `unhealthyThreshold` is
    /// `unhealthy_threshold`.
    pub(super) fn respelled(&self, name: &str) -> Option<&'static str> {
        let exact = self.below.get_key_value(name).map(|(known, _)| *known);
        let is_same = |known: &&&'static str| plain_letters(known).eq(plain_letters(name));
        exact.or_else(|| self.below.keys().find(is_same).copied())
    }
}

/// A name without what its spellings differ in.
pub(super) fn plain_letters(name: &str) -> impl Iterator<Item = char> + '_ {
    name.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase)
}

/// The keys at and below a path without indices, such as `routes`.
pub(super) fn tree_at(key_path: &str) -> Option<&'static KeyTree> {
    let names = key_path.split('.').filter(|name| !name.is_empty());
    names.into_iter().try_fold(KeyTree::root(), |tree, name| tree.below(name))
}

/// The names of the keys directly below a path.
pub(super) fn names_below(key_path: &str) -> impl Iterator<Item = &'static str> {
    let mut prefix = generalise(key_path);
    if !prefix.is_empty() {
        prefix.push('.');
    }
    all().filter_map(move |key| {
        let rest = key.path.strip_prefix(prefix.as_str())?;
        (!rest.contains('.')).then_some(rest)
    })
}

/// `policy[3].redirect` becomes `routes[].redirect`.
fn generalise(key_path: &str) -> String {
    let mut general = String::with_capacity(key_path.len());
    let mut in_index = false;
    for c in key_path.chars() {
        in_index = match c {
            '[' => {
                general.push('[');
                true
            }
            ']' => false,
            _ => in_index,
        };
        if c != '[' && !in_index {
            general.push(c);
        }
    }
    match general.strip_prefix("policy[]") {
        Some(rest) => format!("routes[]{rest}"),
        None => general,
    }
}

impl ConfigKey {
    /// The environment variable that overrides it. Lists of mappings have none, but for the two
    /// lists of routes.
    pub(super) fn variable(&self) -> Option<String> {
        match self.path {
            "set_response_headers" => return Some("HEADERS".to_owned()),
            "policy" | "routes" => return Some(self.path.to_uppercase()),
            "downstream_mtls.match_subject_alt_names" => return None,
            _ => {}
        }
        let single = !matches!(
            self.kind,
            ValueKind::Section | ValueKind::Sections | ValueKind::MapOfLists | ValueKind::Messages
        );
        let around = self.path.rsplit_once('.').and_then(|(around, _)| tree_at(around));
        let reachable = !self.path.contains("[]")
            && self.status != KeyStatus::Removed
            // A message is given as a whole.
            && !around.is_some_and(KeyTree::is_message);
        (single && reachable).then(|| self.path.replace('.', "_").to_uppercase())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// The key at a path such as `routes[3].to`.
    fn find(key_path: &str) -> Option<&'static ConfigKey> {
        let general = generalise(key_path);
        general
            .split('.')
            .try_fold(KeyTree::root(), |tree, name| tree.below(name.trim_end_matches("[]")))?
            .key()
    }

    #[test]
    fn a_path_with_indices_finds_its_key() {
        assert_eq!(find("routes[12].redirect.https_redirect").unwrap().kind, ValueKind::Flag);
        assert_eq!(find("policy[0].from").unwrap().path, "routes[].from");
        assert_eq!(find("routes[0].sub_policies").unwrap().status, KeyStatus::NotYet);
        assert!(find("routes[0].rotues").is_none());
    }

    #[test]
    fn no_key_is_in_the_table_twice() {
        let mut seen = HashSet::new();
        for key in all() {
            assert!(seen.insert(key.path), "{}", key.path);
        }
    }

    #[test]
    fn no_two_keys_share_an_environment_variable() {
        let mut seen = HashSet::new();
        for variable in all().filter_map(ConfigKey::variable) {
            assert!(seen.insert(variable.clone()), "{variable}");
        }
    }

    #[test]
    fn every_key_stands_below_a_section_of_the_table() {
        for key in all() {
            if let Some((parent, _)) = key.path.rsplit_once('.') {
                let kind = find(parent.strip_suffix("[]").unwrap_or(parent)).unwrap().kind;
                let expected = match parent.ends_with("[]") {
                    true => [ValueKind::Sections, ValueKind::Messages],
                    false => [ValueKind::Section, ValueKind::Message],
                };
                assert!(expected.contains(&kind), "{}", key.path);
            }
        }
    }

    #[test]
    fn variables_are_named_by_pomeriums_rule() {
        for (path, variable) in [
            ("certificate_file", Some("CERTIFICATE_FILE")),
            ("downstream_mtls.ca_file", Some("DOWNSTREAM_MTLS_CA_FILE")),
            ("portcullis.steering.mode", Some("PORTCULLIS_STEERING_MODE")),
            ("set_response_headers", Some("HEADERS")),
            ("certificates", None),
            ("downstream_mtls", None),
            ("routes[].from", None),
        ] {
            assert_eq!(find(path).unwrap().variable().as_deref(), variable, "{path}");
        }
    }

    #[test]
    fn every_key_that_does_something_says_what() {
        for key in all() {
            assert_eq!(key.about.is_empty(), key.status == KeyStatus::Ignored, "{}", key.path);
        }
    }
}
