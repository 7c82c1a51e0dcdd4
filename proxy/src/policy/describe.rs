//! Criteria in words, near to what the configuration says.

use std::fmt;

use super::{
    address::IpRange,
    certificate::{CertificateMatcher, DigestSet},
    claim::{ClaimPath, ClaimValue, ListCondition, ListMatcher},
    criterion::{Criterion, Subject},
    matcher::{Condition, StringMatcher},
    request::SanKind,
};

/// How many texts of a list are written.
const MOST_SHOWN: usize = 5;

/// `email is a@example.com`
pub(super) fn describe(criterion: &Criterion) -> String {
    match criterion {
        Criterion::Accept => "accept".to_owned(),
        Criterion::Reject => "reject".to_owned(),
        Criterion::AuthenticatedUser => "authenticated_user".to_owned(),
        Criterion::Text(subject, matcher) => format!("{} {}", name(*subject), text(matcher)),
        Criterion::Claim(path, matcher) => claim(path, matcher),
        Criterion::ClientCertificate(matcher) => certificate(matcher),
        Criterion::InvalidClientCertificate { .. } => "invalid_client_certificate".to_owned(),
        Criterion::SourceIp(ranges) => {
            let ranges: Vec<String> = ranges.iter().map(IpRange::to_string).collect();
            format!("source_ip in {}", list(&ranges))
        }
        Criterion::CorsPreflight => "cors_preflight".to_owned(),
    }
}

/// The key, older than the policy language, that the criterion stands for.
pub(super) fn older_key(criterion: &Criterion) -> &'static str {
    match criterion {
        Criterion::Accept => "allow_public_unauthenticated_access",
        Criterion::CorsPreflight => "cors_allow_preflight",
        Criterion::AuthenticatedUser => "allow_any_authenticated_user",
        Criterion::Text(Subject::Domain, _) => "allowed_domains",
        Criterion::Claim(..) => "allowed_idp_claims",
        _ => "allowed_users",
    }
}

fn name(subject: Subject) -> &'static str {
    match subject {
        Subject::Email => "email",
        Subject::Domain => "domain",
        Subject::User => "user",
        Subject::HttpMethod => "http_method",
        Subject::HttpPath => "http_path",
    }
}

fn text(matcher: &StringMatcher) -> String {
    let conditions: Vec<String> = matcher.conditions().iter().map(condition).collect();
    conditions.join(" and ")
}

fn condition(condition: &Condition) -> String {
    match condition {
        Condition::Is(text) => format!("is {}", shown(text)),
        Condition::Not(text) => format!("is not {}", shown(text)),
        Condition::Contains(text) => format!("contains {}", shown(text)),
        Condition::StartsWith(text) => format!("starts_with {}", shown(text)),
        Condition::EndsWith(text) => format!("ends_with {}", shown(text)),
        Condition::In(set) => format!("in {}", list(set.texts())),
        Condition::NotIn(set) => format!("not_in {}", list(set.texts())),
    }
}

fn claim(path: &ClaimPath, matcher: &ListMatcher) -> String {
    let value = |value: &ClaimValue| match value {
        ClaimValue::Text(text) => shown(text),
        ClaimValue::Number(number) => number.to_string(),
        ClaimValue::Flag(flag) => flag.to_string(),
    };
    let conditions = matcher.conditions().iter().map(|condition| match condition {
        ListCondition::Has(wanted) => format!("has {}", value(wanted)),
        ListCondition::Is(wanted) => format!("is {}", value(wanted)),
        ListCondition::Exclude(unwanted) => format!("exclude {}", value(unwanted)),
    });
    let conditions: Vec<String> = conditions.collect();
    format!(
        "claim/{} {}",
        path.top_level_names().next().unwrap_or_default(),
        conditions.join(" and ")
    )
}

fn certificate(matcher: &CertificateMatcher) -> String {
    let digests = |name: &str, set: &Option<DigestSet>| {
        set.as_ref().map(|set| {
            let digests: Vec<String> = set.digests().iter().map(|digest| hex(digest)).collect();
            format!("{name} in {}", list(&digests))
        })
    };
    let names = matcher.names.iter().map(|(kind, matcher)| {
        let kind = match kind {
            SanKind::Email => "san_email",
            SanKind::Dns => "san_dns",
            SanKind::Uri => "san_uri",
        };
        format!("{kind} {}", text(matcher))
    });
    let pins =
        [digests("fingerprint", &matcher.fingerprints), digests("spki_hash", &matcher.spki_hashes)];
    let conditions: Vec<String> = pins.into_iter().flatten().chain(names).collect();
    match conditions.is_empty() {
        true => "client_certificate".to_owned(),
        false => format!("client_certificate with {}", conditions.join(" and ")),
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The first of many texts.
fn list<T: AsRef<str>>(texts: &[T]) -> String {
    let first = texts.iter().take(MOST_SHOWN).map(|text| shown(text.as_ref()));
    let first = first.collect::<Vec<_>>().join(", ");
    match texts.len().saturating_sub(MOST_SHOWN) {
        0 => format!("[{first}]"),
        more => format!("[{first} and {more} more]"),
    }
}

/// Without characters that drive a terminal. An empty text is shown as one.
fn shown(text: &str) -> String {
    match text.is_empty() {
        true => "\"\"".to_owned(),
        false => text.escape_debug().to_string(),
    }
}

/// `10.0.0.0/8`; an address alone where the range has no other.
impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            IpRange::V4 { network, mask: u32::MAX } => std::net::Ipv4Addr::from(network).fmt(f),
            IpRange::V4 { network, mask } => {
                write!(f, "{}/{}", std::net::Ipv4Addr::from(network), mask.count_ones())
            }
            IpRange::V6 { network, mask: u128::MAX } => std::net::Ipv6Addr::from(network).fmt(f),
            IpRange::V6 { network, mask } => {
                write!(f, "{}/{}", std::net::Ipv6Addr::from(network), mask.count_ones())
            }
        }
    }
}
