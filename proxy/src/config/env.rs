//! Environment variables, which win over the file.
//!
//! Pomerium's rule: every key has a variable of its name in upper case, nested ones joined by `_`.
//! A list is separated by commas, a mapping is JSON, the lists of routes are base64 of YAML.

use std::{collections::BTreeMap, ffi::OsString};

use serde_yaml::{Mapping, Value};

use super::{
    context::LoadContext,
    diagnostic::Severity,
    encoding, file,
    keys::{self, ConfigKey, KeyStatus, ValueKind},
};

/// The variables a configuration may take values from: the process's own, or what a test gives.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The variables of this process, as they are now.
    pub(crate) fn of_process() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    /// The value of a variable; an empty one counts as unset, as in Pomerium.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// Whether a variable sets a key that has an effect.
    pub(super) fn has_a_key(&self) -> bool {
        let supported = keys::all().filter(|key| key.status == KeyStatus::Supported);
        supported.filter_map(ConfigKey::variable).any(|name| self.get(&name).is_some())
    }
}

impl<K: Into<OsString>, V: Into<OsString>> FromIterator<(K, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(variables: I) -> Environment {
        let pairs = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Environment(pairs.collect())
    }
}

/// Puts the value of every variable that names a key in the place of the file's.
pub(super) fn overlay(root: &mut Mapping, environment: &Environment, context: &mut LoadContext) {
    for key in keys::all() {
        let Some(name) = key.variable() else { continue };
        let Some(raw) = environment.get(&name) else { continue };
        context.set_variable(key.path, &name);
        let value = match raw.to_str() {
            Some(text) => read(key, text),
            None => Err("is not valid UTF-8".to_owned()),
        };
        match value {
            Ok(value) => put(root, key.path, value),
            Err(problem) => context.report(Severity::Error, key.path, problem, None),
        }
    }
    report_misspelt(environment, context);
}

/// Names shorter than this are near to too many others.
const MIN_COMPARED_LEN: usize = 5;
/// More differences than this make another name; one, if the name is short.
const MAX_SLIPS: usize = 2;
const MIN_LEN_FOR_TWO_SLIPS: usize = 10;
/// Variables of others that are near to ours: those of web applications and shells.
const FOREIGN: [&str; 11] = [
    "CLIENT_CERT",
    "CLIENT_ID",
    "CLIENT_IP",
    "CLIENT_URI",
    "CLIENT_URL",
    "LOGIN_URL",
    "LOGLEVEL",
    "LOGOUT_URL",
    "LOG_URL",
    "ROUTER",
    "SERVICE",
];
/// How the variables of others begin that are near to ours.
const FOREIGN_PREFIXES: [&str; 7] = ["APP_", "GCP_", "GRPC_", "LDAP_", "OIDC_", "OTEL_", "SSH_"];

/// Reports variables that are probably meant for a key and are misspelt. They would be silently
/// ignored, and with them what they should protect.
fn report_misspelt(environment: &Environment, context: &LoadContext) {
    let known: Vec<String> = keys::all().filter_map(ConfigKey::variable).collect();
    for (name, value) in &environment.0 {
        let Some(name) = name.to_str().filter(|name| name.len() >= MIN_COMPARED_LEN) else {
            continue;
        };
        let is_foreign = FOREIGN.contains(&name)
            || FOREIGN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
        if value.is_empty() || is_foreign || known.iter().any(|known| known == name) {
            continue;
        }
        if let Some(near) = nearest(name, &known) {
            let hint = format!("`{near}`? unset it, if it is meant for another program");
            context.report_variable(name, "stands for no key", hint);
        }
    }
}

/// The variable of a key that differs least from this name, if the difference may be a slip.
fn nearest<'k>(name: &str, known: &'k [String]) -> Option<&'k String> {
    let slips = if name.len() < MIN_LEN_FOR_TWO_SLIPS { 1 } else { MAX_SLIPS };
    let distance = |known: &String| {
        let is_comparable =
            known.len() >= MIN_COMPARED_LEN && known.len().abs_diff(name.len()) <= slips;
        is_comparable.then(|| strsim::osa_distance(known, name)).filter(|found| *found <= slips)
    };
    let near = known.iter().filter_map(|known| Some((distance(known)?, known)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

fn read(key: &ConfigKey, text: &str) -> Result<Value, String> {
    match key.path {
        "set_response_headers" => return headers(text),
        "policy" | "routes" => return routes(key.path, text),
        _ => {}
    }
    match key.kind {
        ValueKind::Map => {
            json_map(text).ok_or_else(|| "is not a JSON object of strings".to_owned())
        }
        ValueKind::Message => message(key.path, text),
        ValueKind::MapOrList => Ok(json_map(text).unwrap_or_else(|| Value::from(text))),
        _ => Ok(Value::from(text)),
    }
}

fn json_map(text: &str) -> Option<Value> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).ok()?;
    let mut mapping = Mapping::with_capacity(object.len());
    for (name, value) in object {
        let value = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Bool(flag) => flag.to_string(),
            serde_json::Value::Number(number) => number.to_string(),
            _ => return None,
        };
        mapping.insert(Value::from(name), Value::from(value));
    }
    Some(Value::Mapping(mapping))
}

/// A message is JSON.
fn message(key_path: &str, text: &str) -> Result<Value, String> {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|_| "is not a JSON object".to_owned())?;
    let value = serde_yaml::to_value(object).map_err(|error| error.to_string())?;
    let (value, clashes) = file::fold_keys(value, key_path);
    match clashes.first() {
        None => Ok(value),
        Some((path, problem)) => Err(format!("{path} {problem}")),
    }
}

/// `HEADERS` is JSON, or `Name:value,Name:value`.
fn headers(text: &str) -> Result<Value, String> {
    if let Some(map) = json_map(text) {
        return Ok(map);
    }
    let pair = |item: &str| {
        let (name, value) = item.split_once(':')?;
        Some((Value::from(name.trim()), Value::from(value.trim())))
    };
    let pairs: Option<Mapping> = text.split(',').map(pair).collect();
    pairs.map(Value::Mapping).ok_or_else(|| format!("failed to decode headers from '{text}'"))
}

/// `POLICY` and `ROUTES` are base64 of a YAML list.
fn routes(key_path: &str, text: &str) -> Result<Value, String> {
    let yaml = encoding::base64(text)?;
    let yaml = String::from_utf8(yaml)
        .map_err(|_| "is base64, but the decoded text is not UTF-8".to_owned())?;
    let document = file::parse(yaml.into()).map_err(|faults| {
        let faults: Vec<String> = faults
            .iter()
            .map(|fault| format!("line {}: {} {}", fault.line, fault.key_path, fault.message))
            .collect();
        format!("in the decoded text, {}", faults.join("; "))
    })?;
    let (value, clashes) = file::fold_keys(document.value, key_path);
    match clashes.first() {
        None => Ok(value),
        Some((path, problem)) => Err(format!("in the decoded text, {path} {problem}")),
    }
}

/// Puts a value at a path, making the mappings on the way. What stands there as something else
/// than a mapping is the file's mistake, and stays for the checks to find.
fn put(root: &mut Mapping, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            root.insert(Value::from(path), value);
        }
        Some((first, rest)) => {
            let below = root.entry(Value::from(first)).or_insert(Value::Null);
            if below.is_null() {
                *below = Value::Mapping(Mapping::new());
            }
            if let Value::Mapping(below) = below {
                put(below, rest, value);
            }
        }
    }
}
