//! Whether a name lies in a subtree of a name constraint.

use x509_parser::{
    asn1_rs::ToDer,
    extensions::GeneralName,
    x509::{AttributeTypeAndValue, RelativeDistinguishedName, X509Name},
};

/// The list that a subtree stands in. Where a comparison leaves a doubt, the name is refused: it is
/// outside of permitted subtrees, and inside of excluded ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subtrees {
    Permitted,
    Excluded,
}

/// The tag of a name's kind, also if the name is malformed.
pub(super) fn kind(name: &GeneralName<'_>) -> u32 {
    match name {
        GeneralName::OtherName(..) => 0,
        GeneralName::RFC822Name(_) => 1,
        GeneralName::DNSName(_) => 2,
        GeneralName::X400Address(_) => 3,
        GeneralName::DirectoryName(_) => 4,
        GeneralName::EDIPartyName(_) => 5,
        GeneralName::URI(_) => 6,
        GeneralName::IPAddress(_) => 7,
        GeneralName::RegisteredID(_) => 8,
        GeneralName::Invalid(tag, _) => tag.0,
    }
}

/// Whether a name lies in the subtree; `None` if their kind is not processed, or one of them is
/// malformed.
pub(super) fn matches(
    subtrees: Subtrees,
    base: &GeneralName<'_>,
    name: &GeneralName<'_>,
) -> Option<bool> {
    match (base, name) {
        (GeneralName::DNSName(base), GeneralName::DNSName(name)) => {
            Some(dns_name(subtrees, base, name))
        }
        (GeneralName::RFC822Name(base), GeneralName::RFC822Name(name)) => {
            email(subtrees, base, name)
        }
        (GeneralName::URI(base), GeneralName::URI(name)) => uri(base, name),
        (GeneralName::IPAddress(base), GeneralName::IPAddress(name)) => ip_address(base, name),
        (GeneralName::DirectoryName(base), GeneralName::DirectoryName(name)) => {
            Some(directory_name(subtrees, base, name))
        }
        _ => None,
    }
}

/// A base is the name itself or a domain above it; one that begins with a dot only the latter.
fn dns_name(subtrees: Subtrees, base: &str, name: &str) -> bool {
    let (base, name) = (lower(base), lower(name));
    let (base, name) = (without_dot(&base), without_dot(&name));
    if base.is_empty() || is_host_or_below(base, name) {
        return true;
    }
    // A wildcard may stand for a name that is excluded.
    let wildcard = name.strip_prefix("*.").filter(|_| subtrees == Subtrees::Excluded);
    wildcard.is_some_and(|domain| is_host_or_below(domain, base.trim_start_matches('.')))
}

fn is_host_or_below(base: &str, name: &str) -> bool {
    match base.strip_prefix('.') {
        Some(_) => name.ends_with(base),
        None => name.strip_suffix(base).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
    }
}

/// A base is a mailbox, a host, or with a dot before it all hosts of a domain.
fn email(subtrees: Subtrees, base: &str, name: &str) -> Option<bool> {
    let (mailbox, host) = name.rsplit_once('@').filter(|(mailbox, _)| !mailbox.is_empty())?;
    let host = lower(host);
    let host = without_dot(&host);
    Some(match base.rsplit_once('@') {
        Some((base_mailbox, base_host)) => {
            let is_same = match subtrees {
                Subtrees::Permitted => mailbox == base_mailbox,
                Subtrees::Excluded => mailbox.eq_ignore_ascii_case(base_mailbox),
            };
            is_same && host == without_dot(&lower(base_host))
        }
        None => is_host(without_dot(&lower(base)), host),
    })
}

/// A base is a host, or with a dot before it all hosts of a domain. The URI must have a host that is a
/// name.
fn uri(base: &str, name: &str) -> Option<bool> {
    let (_, rest) = name.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = lower(host_and_port.split(':').next()?);
    let is_name = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        && host.parse::<std::net::Ipv4Addr>().is_err();
    is_name.then(|| is_host(without_dot(&lower(base)), without_dot(&host)))
}

fn is_host(base: &str, host: &str) -> bool {
    match base {
        "" => true,
        domain if domain.starts_with('.') => host.ends_with(domain),
        base => host == base,
    }
}

/// A base is an address and a mask of the same length.
fn ip_address(base: &[u8], name: &[u8]) -> Option<bool> {
    let is_length = |len: usize| len == 4 || len == 16;
    if !base.len().is_multiple_of(2) || !is_length(base.len() / 2) || !is_length(name.len()) {
        return None;
    }
    let (address, mask) = base.split_at(base.len() / 2);
    let masked = |bytes: &[u8]| -> Vec<u8> { bytes.iter().zip(mask).map(|(b, m)| b & m).collect() };
    Some(name.len() == address.len() && masked(name) == masked(address))
}

/// A base is the beginning of a name.
fn directory_name(subtrees: Subtrees, base: &X509Name<'_>, name: &X509Name<'_>) -> bool {
    let mut names = name.iter_rdn();
    base.iter_rdn().all(|base| names.next().is_some_and(|name| is_same_rdn(subtrees, base, name)))
}

fn is_same_rdn(
    subtrees: Subtrees,
    base: &RelativeDistinguishedName<'_>,
    name: &RelativeDistinguishedName<'_>,
) -> bool {
    base.iter().count() == name.iter().count()
        && base.iter().all(|base| name.iter().any(|name| is_same_attribute(subtrees, base, name)))
}

/// Compares text without regard to letter case, to its type and to the number of spaces (section 7.1).
fn is_same_attribute(
    subtrees: Subtrees,
    base: &AttributeTypeAndValue<'_>,
    name: &AttributeTypeAndValue<'_>,
) -> bool {
    if base.attr_type() != name.attr_type() {
        return false;
    }
    let encoding = |value: &AttributeTypeAndValue<'_>| value.attr_value().to_der_vec().ok();
    match (base.as_str(), name.as_str()) {
        (Ok(base), Ok(name)) => normalized(base) == normalized(name),
        _ if encoding(base) == encoding(name) => true,
        // The same text may stand there in another encoding.
        _ => subtrees == Subtrees::Excluded,
    }
}

fn normalized(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}
