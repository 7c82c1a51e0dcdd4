//! `match_subject_alt_names`: which names a client's certificate must have.

use std::fmt;

use regex::Regex;
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::{
    der::{Reader, UTF8_STRING},
    material::Digest,
    names::{general_names, ip_address},
};

/// `[0] EXPLICIT`, around the value of an `otherName` (RFC 5280, section 4.2.1.6).
const OTHER_NAME_VALUE: u8 = 0xa0;

/// Microsoft's user principal name, in an `otherName`.
const USER_PRINCIPAL_NAME: &str = "1.3.6.1.4.1.311.20.2.3";

/// A kind of subject alternative name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AltNameKind {
    /// `dNSName`, as it stands in the certificate.
    Dns,
    /// `rfc822Name`, likewise.
    Email,
    /// `iPAddress`, in its shortest text.
    IpAddress,
    /// `uniformResourceIdentifier`.
    Uri,
    /// `otherName` of a user principal name.
    UserPrincipalName,
}

/// Names of one kind, by a pattern of all of the name.
#[derive(Clone)]
pub struct AltNameMatcher {
    kind: AltNameKind,
    pattern: Regex,
}

impl AltNameMatcher {
    /// Compiles a regular expression that the whole of a name must match, not a part of it.
    ///
    /// # Errors
    ///
    /// Where the pattern is none, or compiles to something too large.
    pub fn new(kind: AltNameKind, pattern: &str) -> Result<AltNameMatcher, regex::Error> {
        // On its own first: a pattern such as `a)|(b` must not reach out of the group around it.
        Regex::new(pattern)?;
        // The line break ends a comment, which `(?x)` allows and without it is none.
        Regex::new(&format!(r"\A(?:{pattern})\z"))
            .or_else(|_| Regex::new(&format!("\\A(?:{pattern}\n)\\z")))
            .map(|pattern| AltNameMatcher { kind, pattern })
    }

    fn matches(&self, name: &GeneralName<'_>) -> bool {
        match (self.kind, name) {
            (AltNameKind::Dns, GeneralName::DNSName(text))
            | (AltNameKind::Email, GeneralName::RFC822Name(text))
            | (AltNameKind::Uri, GeneralName::URI(text)) => self.pattern.is_match(text),
            (AltNameKind::IpAddress, GeneralName::IPAddress(octets)) => {
                ip_address(octets).is_some_and(|ip| self.pattern.is_match(&ip.to_string()))
            }
            (AltNameKind::UserPrincipalName, GeneralName::OtherName(oid, value))
                if oid.to_id_string() == USER_PRINCIPAL_NAME =>
            {
                principal(value).is_some_and(|name| self.pattern.is_match(name))
            }
            _ => false,
        }
    }
}

/// Whether at least one name of the certificate matches. Without matchers every certificate does.
pub(super) fn is_allowed(matchers: &[AltNameMatcher], certificate: &X509Certificate<'_>) -> bool {
    matchers.is_empty()
        || general_names(certificate)
            .any(|name| matchers.iter().any(|matcher| matcher.matches(name)))
}

/// Adds what decides to a digest.
pub(super) fn digest(matchers: &[AltNameMatcher], digest: &mut Digest) {
    for AltNameMatcher { kind, pattern } in matchers {
        digest.field(&[*kind as u8]);
        digest.field(pattern.as_str().as_bytes());
    }
}

fn principal(value: &[u8]) -> Option<&str> {
    let mut outer = Reader::new(value);
    let mut inner = Reader::new(outer.contents(OTHER_NAME_VALUE)?);
    let name = inner.contents(UTF8_STRING)?;
    (outer.is_at_end() && inner.is_at_end()).then(|| std::str::from_utf8(name).ok())?
}

impl fmt::Debug for AltNameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.pattern)
    }
}

#[cfg(test)]
mod tests;
