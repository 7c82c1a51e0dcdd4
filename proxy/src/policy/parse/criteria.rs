//! Criteria, each a name with its data.

use serde_yaml::Value;

use super::{
    certificate,
    matchers::{list_matcher, string_matcher},
    node::{Errors, Node},
};
use crate::policy::{
    address::IpRange,
    claim::ClaimPath,
    criterion::{Criterion, Subject},
};

/// The names of supported criteria.
const KNOWN: [&str; 13] = [
    "accept",
    "authenticated_user",
    "claim",
    "client_certificate",
    "cors_preflight",
    "domain",
    "email",
    "http_method",
    "http_path",
    "invalid_client_certificate",
    "reject",
    "source_ip",
    "user",
];

/// Criteria that only Pomerium, in one of its editions, supports, each with the reason.
const UNSUPPORTED: [(&str, &str); 10] = [
    ("groups", "there is no directory; use `claim/groups`"),
    ("device", "devices are not registered here"),
    ("mcp_tool", "MCP is not spoken here"),
    ("ssh_publickey", "SSH is not spoken here"),
    ("ssh_username", "SSH is not spoken here"),
    ("date", "only Pomerium Zero and Enterprise have it"),
    ("day_of_week", "only Pomerium Zero and Enterprise have it"),
    ("time_of_day", "only Pomerium Zero and Enterprise have it"),
    ("record", "only Pomerium Zero and Enterprise have it"),
    ("pomerium_routes", "Pomerium's own routes do not exist here"),
];

/// The criteria of one operator.
pub(super) fn list(node: &Node<'_>, errors: &mut Errors) -> Vec<Criterion> {
    if !matches!(node.value, Value::Sequence(_)) {
        let message = format!("unsupported type for criteria: {}", node.kind());
        errors.add_with_hint(node, message, "write a list, `- ` before each criterion");
    }
    node.items().iter().filter_map(|item| single(item, errors)).collect()
}

fn single(item: &Node<'_>, errors: &mut Errors) -> Option<Criterion> {
    let Value::Mapping(mapping) = item.value else {
        let message = format!("unsupported type for criteria array: {}", item.kind());
        match item.text() {
            Some(name) if KNOWN.contains(&name) => {
                errors.add_with_hint(item, message, format!("write `{name}: true`"));
            }
            _ => errors.add(item, message),
        }
        return None;
    };
    if mapping.len() != 1 {
        let message = "each criteria may only contain a single key and value";
        errors.add_with_hint(item, message, "write `- ` before each criterion");
        // Their own mistakes are reported all the same.
        item.entries(errors).iter().for_each(|(key, data)| drop(criterion(key, data, errors)));
        return None;
    }
    let entries = item.entries(errors);
    let (key, data) = entries.first()?;
    criterion(key, data, errors)
}

fn criterion(key: &str, data: &Node<'_>, errors: &mut Errors) -> Option<Criterion> {
    let (name, sub_path) = match key.split_once('/') {
        Some((name, sub_path)) => (name, Some(sub_path)),
        None => (key, None),
    };
    let text = |subject: Subject, errors: &mut Errors| {
        let matcher = string_matcher(data, errors)?;
        // A template without its variable would allow users who have no address.
        if subject.is_of_identity() && matcher.asks_for_nothing() {
            errors.add(data, "is empty and would match users without an address or id");
        }
        Some(Criterion::Text(subject, matcher))
    };
    if sub_path.is_some() && name != "claim" && KNOWN.contains(&name) {
        errors.add(data, format!("`{name}` takes no path below it; only `claim/…` does"));
    }
    match name {
        "accept" => Some(Criterion::Accept),
        "reject" => Some(Criterion::Reject),
        "authenticated_user" => Some(Criterion::AuthenticatedUser),
        "cors_preflight" => Some(Criterion::CorsPreflight),
        "invalid_client_certificate" => {
            Some(Criterion::InvalidClientCertificate { but_preflights: false })
        }
        "email" => text(Subject::Email, errors),
        "domain" => text(Subject::Domain, errors),
        "user" => text(Subject::User, errors),
        "http_method" => text(Subject::HttpMethod, errors),
        "http_path" => text(Subject::HttpPath, errors),
        "claim" => claim(sub_path, data, errors),
        "client_certificate" => {
            certificate::matcher(data, errors).map(Criterion::ClientCertificate)
        }
        "source_ip" => source_ip(data, errors).map(Criterion::SourceIp),
        _ => {
            unknown(name, data, errors);
            None
        }
    }
}

fn unknown(name: &str, data: &Node<'_>, errors: &mut Errors) {
    match UNSUPPORTED.iter().find(|(known, _)| *known == name) {
        Some((_, reason)) => {
            errors.add(data, format!("policy criterion `{name}` is not supported: {reason}"));
        }
        None => {
            let message = format!("unknown policy criterion: {}", name.escape_debug());
            errors.add_unknown(data, message, name, &KNOWN);
        }
    }
}

fn claim(sub_path: Option<&str>, data: &Node<'_>, errors: &mut Errors) -> Option<Criterion> {
    let matcher = list_matcher(data, errors);
    let Some(sub_path) = sub_path.filter(|path| !path.is_empty()) else {
        errors.add_with_hint(data, "names no claim", "write `claim/NAME`");
        return None;
    };
    Some(Criterion::Claim(ClaimPath::new(sub_path), matcher?))
}

fn source_ip(data: &Node<'_>, errors: &mut Errors) -> Option<Vec<IpRange>> {
    let ranges = match data.value {
        Value::String(_) => return Some(vec![range(data, errors)?]),
        Value::Sequence(_) => data.items(),
        _ => {
            errors.add(data, format!("expected string or array of strings, got: {}", data.kind()));
            return None;
        }
    };
    Some(ranges.iter().filter_map(|item| range(item, errors)).collect())
}

fn range(node: &Node<'_>, errors: &mut Errors) -> Option<IpRange> {
    let Some(text) = node.text() else {
        errors.add(node, format!("expected string value, got: {}", node.kind()));
        return None;
    };
    let range = text.parse();
    if range.is_err() {
        errors.add(node, format!("expected IP or CIDR range, got: {text:?}"));
    }
    range.ok()
}
