//! Email addresses that count as such.

use std::ops::Deref;

/// The email address of a user, or none, which is an empty text. A text that is no address that counts
/// becomes none, so that nothing else need look at its form again.
///
/// An address has exactly one `@`, something on both sides of it, and neither white space nor control
/// characters. RFC 5321 (4.1.2) allows more in quotes, such as `"x@example.com"@evil.example`; programs
/// differ in which part of such an address is its domain, so it counts as no address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmailAddress {
    text: Box<str>,
    /// Where the domain begins; 0 if there is no address.
    domain: usize,
}

impl EmailAddress {
    /// The address, if the text is one that counts.
    pub(crate) fn parse(text: &str) -> Option<EmailAddress> {
        let (local, domain) = text.split_once('@')?;
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        if local.is_empty() || domain.is_empty() || domain.contains('@') || text.contains(is_odd) {
            return None;
        }
        Some(EmailAddress { text: text.into(), domain: local.len() + 1 })
    }

    /// The text behind the `@`; `None` if there is no address.
    pub(super) fn domain(&self) -> Option<&str> {
        self.text.get(self.domain..).filter(|domain| !domain.is_empty())
    }
}

impl Deref for EmailAddress {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// What a text counts as: itself or none.
impl From<&str> for EmailAddress {
    fn from(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap_or_default()
    }
}

/// What a text counts as: itself or none.
impl From<String> for EmailAddress {
    fn from(text: String) -> EmailAddress {
        text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_follows_the_only_at_sign() {
        let domain = |text| {
            EmailAddress::parse(text).and_then(|address| address.domain().map(str::to_owned))
        };
        assert_eq!(domain("ann@example.com"), Some("example.com".to_owned()));
        assert_eq!(domain("Ann+x@Example.com"), Some("Example.com".to_owned()));
        assert_eq!(domain("ü@exämple.com"), Some("exämple.com".to_owned()));
    }

    #[test]
    fn odd_texts_are_no_addresses() {
        for text in [
            "",
            "@",
            "ann",
            "ann@",
            "@example.com",
            "a@evil@example.com",
            "a@@example.com",
            "\"a@evil\"@example.com",
            "a@example.com@",
            "a@example.com\0",
            "a\0@example.com",
            "a@example.com\n",
            "a\nb@example.com",
            "a b@example.com",
            " a@example.com",
            "a@example.com ",
            "a@example.com\u{a0}",
            "a@example\u{2028}.com",
            "a@example.com\u{7f}",
            "a@example.com\u{85}",
            "a@example.com\t",
        ] {
            assert_eq!(EmailAddress::parse(text), None, "{text:?}");
        }
    }
}
