//! Name constraints (RFC 5280 section 4.2.1.10): the names that certificates below a CA may have.
//!
//! webpki processes DNS names and IP addresses. Here DNS names, IP addresses, email addresses, URIs and
//! directory names are; a name of another kind is refused if a CA above it constrains that kind.
//! Where a certificate has no alternative name of a kind, the names in its subject count: email
//! addresses, and a common name that is a DNS name, as in OpenSSL.

mod matching;

use x509_parser::{
    asn1_rs::Tag,
    certificate::X509Certificate,
    extensions::{GeneralName, NameConstraints},
    oid_registry::OID_X509_EXT_NAME_CONSTRAINTS,
    x509::{AttributeTypeAndValue, X509Name},
};

use self::matching::{Subtrees, kind, matches};
use crate::{
    certificate::AltName,
    tls::der::{Reader, SEQUENCE},
};

/// `[0]`, the permitted subtrees, and `[1]`, the excluded ones.
const LISTS: [u8; 2] = [0xa0, 0xa1];

/// How many names are compared with constraints for one chain.
const MAX_COMPARISONS: u32 = 4096;

/// How many characters of a name an error shows.
const SHOWN_CHARS: usize = 80;

/// How a chain breaks the name constraints of a CA in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameConstraintError {
    /// The CA may not issue for this name.
    #[error("the name constraints of a CA above it exclude {0}")]
    Excluded(Box<str>),
    /// The CA may issue for other names of this kind only.
    #[error("the name constraints of a CA above it permit other names, not {0}")]
    NotPermitted(Box<str>),
    /// The name or the constraint is of a kind that is not processed, or malformed.
    #[error("a CA above it constrains names of a kind that cannot be compared, and it has {0}")]
    NotProcessed(Box<str>),
    /// webpki found a violation, and did not say which.
    #[error("the name constraints of a CA above it do not permit its names")]
    Violated,
    /// It has too many names for so many constraints.
    #[error("it has too many names for the name constraints of the CAs above it")]
    TooMany,
    /// An extension cannot be parsed.
    #[error("its names, or the name constraints of a CA above it, cannot be parsed")]
    Malformed,
}

/// Checks a path: the leaf, its issuers in order, and the anchor if that has constraints.
pub(super) fn check(
    leaf: &X509Certificate<'_>,
    issuers: &[X509Certificate<'_>],
    anchor: Option<&X509Certificate<'_>>,
) -> Result<(), NameConstraintError> {
    let mut comparisons = 0;
    for (place, issuer) in issuers.iter().chain(anchor).enumerate() {
        let Some(constraints) = constraints_of(issuer)? else { continue };
        let mut check = Check { constraints, comparisons: &mut comparisons };
        check.leaf(leaf)?;
        // A self-issued certificate is the CA itself with another key (section 6.1.3 (b)).
        let below = issuers.iter().take(place).filter(|below| below.subject() != below.issuer());
        below.into_iter().try_for_each(|below| check.certificate(below))?;
    }
    Ok(())
}

/// The constraints of a CA, if it has any. x509-parser leaves out a list that it cannot read, and with
/// it all that the list forbids: so the lists that it has read are compared with those that are there.
pub(in crate::tls) fn constraints_of<'c>(
    certificate: &'c X509Certificate<'_>,
) -> Result<Option<&'c NameConstraints<'c>>, NameConstraintError> {
    let malformed = |_| NameConstraintError::Malformed;
    let Some(constraints) = certificate.name_constraints().map_err(malformed)? else {
        return Ok(None);
    };
    let constraints = constraints.value;
    let extension = certificate.get_extension_unique(&OID_X509_EXT_NAME_CONSTRAINTS);
    let present = extension.map_err(malformed)?.and_then(|extension| lists_in(extension.value));
    let read = [&constraints.permitted_subtrees, &constraints.excluded_subtrees];
    match present {
        Some(present) if present == read.map(|list| list.is_some()) => Ok(Some(constraints)),
        _ => Err(NameConstraintError::Malformed),
    }
}

/// Which lists an extension has; `None` if it has anything else.
fn lists_in(extension: &[u8]) -> Option<[bool; 2]> {
    let mut outer = Reader::new(extension);
    let mut lists = Reader::new(outer.contents(SEQUENCE)?);
    let present = LISTS.map(|tag| lists.optional(tag).is_some());
    (lists.is_at_end() && outer.is_at_end()).then_some(present)
}

/// The constraints of one CA.
struct Check<'c, 'a> {
    constraints: &'c NameConstraints<'a>,
    comparisons: &'c mut u32,
}

impl Check<'_, '_> {
    fn leaf(&mut self, leaf: &X509Certificate<'_>) -> Result<(), NameConstraintError> {
        self.certificate(leaf)?;
        let names = alt_names(leaf)?;
        if names.iter().any(|name| matches!(name, GeneralName::DNSName(_))) {
            return Ok(());
        }
        let common_names = leaf.subject().iter_common_name().map(text_of);
        common_names
            .filter(|name| looks_like_dns_name(name))
            .try_for_each(|name| self.name(&GeneralName::DNSName(&name)))
    }

    fn certificate(
        &mut self,
        certificate: &X509Certificate<'_>,
    ) -> Result<(), NameConstraintError> {
        alt_names(certificate)?.iter().try_for_each(|name| self.name(name))?;
        let subject = certificate.subject();
        if !is_empty(subject) {
            self.name(&GeneralName::DirectoryName(subject.clone()))?;
        }
        subject.iter_email().try_for_each(|email| match email.as_str() {
            Ok(email) => self.name(&GeneralName::RFC822Name(email)),
            Err(_) if self.constrains_emails() => Err(NameConstraintError::Malformed),
            Err(_) => Ok(()),
        })
    }

    fn constrains_emails(&self) -> bool {
        let NameConstraints { permitted_subtrees, excluded_subtrees } = self.constraints;
        let mut subtrees = permitted_subtrees.iter().chain(excluded_subtrees).flatten();
        subtrees.any(|subtree| kind(&subtree.base) == kind(&GeneralName::RFC822Name("")))
    }

    fn name(&mut self, name: &GeneralName<'_>) -> Result<(), NameConstraintError> {
        let excluded = self.constraints.excluded_subtrees.iter().flatten();
        for subtree in excluded.filter(|subtree| kind(&subtree.base) == kind(name)) {
            match self.matches(Subtrees::Excluded, &subtree.base, name)? {
                Some(true) => return Err(NameConstraintError::Excluded(shown(name))),
                Some(false) => {}
                None => return Err(NameConstraintError::NotProcessed(shown(name))),
            }
        }
        let permitted = self.constraints.permitted_subtrees.iter().flatten();
        let mut is_constrained = false;
        for subtree in permitted.filter(|subtree| kind(&subtree.base) == kind(name)) {
            is_constrained = true;
            match self.matches(Subtrees::Permitted, &subtree.base, name)? {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => return Err(NameConstraintError::NotProcessed(shown(name))),
            }
        }
        if is_constrained { Err(NameConstraintError::NotPermitted(shown(name))) } else { Ok(()) }
    }

    fn matches(
        &mut self,
        subtrees: Subtrees,
        base: &GeneralName<'_>,
        name: &GeneralName<'_>,
    ) -> Result<Option<bool>, NameConstraintError> {
        *self.comparisons += 1;
        match *self.comparisons {
            1..=MAX_COMPARISONS => Ok(matches(subtrees, base, name)),
            _ => Err(NameConstraintError::TooMany),
        }
    }
}

fn alt_names<'c, 'a>(
    certificate: &'c X509Certificate<'a>,
) -> Result<&'c [GeneralName<'a>], NameConstraintError> {
    match certificate.subject_alternative_name() {
        Ok(extension) => Ok(extension.map_or(&[], |extension| &extension.value.general_names)),
        Err(_) => Err(NameConstraintError::Malformed),
    }
}

/// The text of an attribute in any of the types of a `DirectoryString`, as OpenSSL reads it: without
/// NULs at its end.
fn text_of(attribute: &AttributeTypeAndValue<'_>) -> String {
    let value = attribute.attr_value();
    let text = match value.tag() {
        Tag::BmpString => {
            let (units, _) = value.data.as_chunks();
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit)))
                .map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER))
                .collect()
        }
        Tag::UniversalString => {
            let (units, _) = value.data.as_chunks();
            let chars = units.iter().map(|unit| char::from_u32(u32::from_be_bytes(*unit)));
            chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(value.data).into_owned(),
    };
    text.trim_end_matches('\0').to_owned()
}

fn is_empty(name: &X509Name<'_>) -> bool {
    name.iter_rdn().next().is_none()
}

/// Whether a common name may be taken for a DNS name: labels of letters, digits, `-`, `_` or a
/// wildcard, and at least two of them.
fn looks_like_dns_name(name: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_*".contains(&byte))
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    name.contains('.') && name.split('.').all(is_label)
}

fn shown(name: &GeneralName<'_>) -> Box<str> {
    let text = AltName::from(name).to_string();
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests;
