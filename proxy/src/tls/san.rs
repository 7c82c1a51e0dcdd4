//! `match_subject_alt_names`: which names a client's certificate must have.

use std::fmt;

use regex::Regex;
use x509_parser::certificate::X509Certificate;

use crate::{
    certificate::{AltName, alt_names},
    digest::Digest,
};

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

    fn matches(&self, name: &AltName<'_>) -> bool {
        match (self.kind, name) {
            (AltNameKind::Dns, AltName::Dns(text))
            | (AltNameKind::Email, AltName::Email(text))
            | (AltNameKind::Uri, AltName::Uri(text))
            | (AltNameKind::UserPrincipalName, AltName::UserPrincipalName(text)) => {
                self.pattern.is_match(text)
            }
            (AltNameKind::IpAddress, AltName::Ip(ip)) => self.pattern.is_match(&ip.to_string()),
            _ => false,
        }
    }
}

/// Whether at least one name of the certificate matches. Without matchers every certificate does.
pub(super) fn is_allowed(matchers: &[AltNameMatcher], certificate: &X509Certificate<'_>) -> bool {
    matchers.is_empty()
        || alt_names(certificate)
            .into_iter()
            .flatten()
            .any(|name| matchers.iter().any(|matcher| matcher.matches(&name)))
}

/// Adds what decides to a digest.
pub(super) fn digest(matchers: &[AltNameMatcher], digest: &mut Digest) {
    for AltNameMatcher { kind, pattern } in matchers {
        digest.field(&[*kind as u8]);
        digest.field(pattern.as_str().as_bytes());
    }
}

impl fmt::Debug for AltNameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.pattern)
    }
}

#[cfg(test)]
mod tests;
