//! Reports keys without effect and keys that are not supported, removed or unknown.

use std::collections::BTreeSet;

use serde_yaml::{Mapping, Value};

use super::super::{
    diagnostic::Severity,
    keys::{self, KeyStatus, KeyTree, ValueKind},
    places::join,
    section::Section,
};
use super::secret_files;
use crate::did_you_mean::did_you_mean;

/// The two lists of routes.
const ROUTES: [&str; 2] = ["policy", "routes"];

/// Checks every key of the document.
pub(super) struct Inspection<'s, 'a> {
    root: &'s Section<'a>,
    strict: bool,
    /// Keys without effect, each once, so that a thousand routes with a description cause one
    /// warning.
    without_effect: BTreeSet<&'static str>,
    /// The first key whose value is a secret in the file.
    secret: Option<String>,
}

impl<'s, 'a> Inspection<'s, 'a> {
    /// Checks every key except those of routes; with `strict`, unknown keys are errors.
    pub(super) fn begin(root: &'s Section<'a>, strict: bool) -> Inspection<'s, 'a> {
        let mut inspection =
            Inspection { root, strict, without_effect: BTreeSet::new(), secret: None };
        for (name, value) in root.entries().filter(|(name, _)| !ROUTES.contains(name)) {
            inspection.key(KeyTree::root(), name, || name.to_owned(), value);
        }
        inspection
    }

    /// Checks the keys of a route of the list at `key`.
    pub(super) fn route(&mut self, key: &str, route: &Section<'_>) {
        let Some(tree) = KeyTree::root().below(key) else { return };
        for (name, value) in route.entries() {
            self.key(tree, name, || route.path_of(name), value);
        }
    }

    /// Reports the collected keys.
    pub(super) fn finish(self) {
        self.report_without_effect();
        if let Some(key_path) = &self.secret {
            secret_files::check_document(self.root, key_path);
        }
    }

    /// `path` formats the key's path, for a report.
    fn key(&mut self, around: &KeyTree, name: &str, path: impl Fn() -> String, value: &Value) {
        let Some((tree, key)) = around.below(name).and_then(|tree| Some((tree, tree.key()?)))
        else {
            return self.unknown(&path());
        };
        match key.status {
            KeyStatus::Supported => {
                if self.secret.is_none() && secret_files::IN_PLACE.contains(&key.path) {
                    let is_in_document = |path: &String| self.root.context().is_in_document(path);
                    self.secret = Some(path()).filter(|_| !is_off(value)).filter(is_in_document);
                }
                self.below(tree, path, value);
            }
            KeyStatus::Removed => {
                let message = "is no longer supported".to_owned();
                self.report(Severity::Error, &path(), message, Some(key.about.to_owned()));
            }
            _ if is_off(value) => {}
            KeyStatus::Ignored => {
                self.without_effect.insert(key.path);
            }
            KeyStatus::IgnoredAloud => {
                let message = format!("has no effect: {}", key.about);
                self.report(Severity::Warning, &path(), message, None);
            }
            KeyStatus::NotYet => {
                let message = "is not supported yet, and ignoring it would change who may do what";
                let hint = Some(key.about.to_owned());
                self.report(Severity::Error, &path(), message.to_owned(), hint);
            }
        }
    }

    fn below(&mut self, tree: &KeyTree, path: impl Fn() -> String, value: &Value) {
        match (tree.kind(), value) {
            (ValueKind::Section | ValueKind::Message, Value::Mapping(mapping)) => {
                self.mapping(tree, &path, mapping);
            }
            (ValueKind::Sections | ValueKind::Messages, Value::Sequence(items)) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Mapping(mapping) = item {
                        self.mapping(tree, &|| format!("{}[{index}]", path()), mapping);
                    }
                }
            }
            _ => {}
        }
    }

    fn mapping(&mut self, tree: &KeyTree, path: &dyn Fn() -> String, mapping: &Mapping) {
        for (name, value) in mapping {
            if let Some(name) = name.as_str() {
                self.key(tree, name, || join(&path(), name), value);
            }
        }
    }

    fn unknown(&self, key_path: &str) {
        let (parent, name) = key_path.rsplit_once('.').unwrap_or(("", key_path));
        // A key of a message stays as it is written.
        let near = did_you_mean(&name.to_lowercase(), keys::names_below(parent));
        let hint = if parent.is_empty() && keys::names_below("routes[]").any(|key| key == name) {
            Some("it is a key of routes: indent it like the route's `from`".to_owned())
        } else {
            near.map(|known| format!("`{known}`?"))
        };
        let severity = match self.strict || must_be_known(key_path, near) {
            true => Severity::Error,
            false => Severity::Warning,
        };
        let message = match severity {
            Severity::Error => "is not a known key",
            Severity::Warning => "is not a known key, and has no effect",
        };
        self.report(severity, key_path, message.to_owned(), hint);
    }

    fn report_without_effect(&self) {
        if self.without_effect.is_empty() {
            return;
        }
        let names: Vec<&str> = self.without_effect.iter().copied().collect();
        let message = format!("these keys have no effect here: {}", names.join(", "));
        self.report(Severity::Warning, "", message, None);
    }

    fn report(&self, severity: Severity, key_path: &str, message: String, hint: Option<String>) {
        self.root.context().report(severity, key_path, message, hint);
    }
}

/// Whether an unknown key is an error: ignoring it could leave clients or upstreams unverified, or
/// it is in our own section. `near` is the key that was probably meant.
fn must_be_known(key_path: &str, near: Option<&str>) -> bool {
    let ours = key_path.starts_with("portcullis.");
    let client_certificates = key_path.starts_with("downstream_mtls.")
        || matches!(near, Some("downstream_mtls" | "client_ca" | "client_ca_file"));
    let of_route = key_path.starts_with("routes[") || key_path.starts_with("policy[");
    let name = key_path.rsplit_once("].").map_or("", |(_, name)| name);
    let of_route_for_sure = name.starts_with("tls_") || name.starts_with("portcullis.");
    ours || client_certificates || of_route && of_route_for_sure || is_about_access(key_path)
}

/// Whether a key's name is about certificates, revocation or who may do what, wherever it stands.
fn is_about_access(key_path: &str) -> bool {
    const WORDS: [&str; 11] = [
        "ca",
        "cas",
        "crl",
        "crls",
        "cert",
        "certs",
        "certificate",
        "certificates",
        "tls",
        "mtls",
        "ssl",
    ];
    let name = key_path.rsplit_once('.').map_or(key_path, |(_, name)| name);
    // Keys of former Pomeriums' storage, and keys that hold YAML anchors.
    if name.starts_with("databroker_") || name.starts_with("x-") {
        return false;
    }
    let is_word = |word: &str| WORDS.contains(&word);
    name.split(['_', '-']).any(is_word) || name.starts_with("allow") || name.starts_with("deny")
}

/// Whether a key's value has no effect (empty or off).
fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => matches!(text.trim(), "" | "false" | "False" | "FALSE" | "0"),
        Value::Sequence(items) => items.is_empty(),
        Value::Mapping(mapping) => mapping.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Tagged(_) => false,
    }
}

/// Whether any of these keys has a value with an effect.
pub(super) fn any_on(section: &Section<'_>, names: &[&str]) -> bool {
    names.iter().filter_map(|name| section.value(name)).any(|value| !is_off(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plausible_slip_is_suggested() {
        assert_eq!(did_you_mean("rotues", keys::names_below("")), Some("routes"));
        assert_eq!(did_you_mean("to_address", keys::names_below("")), None);
        assert_eq!(did_you_mean("form", keys::names_below("routes[3]")), Some("from"));
    }
}
