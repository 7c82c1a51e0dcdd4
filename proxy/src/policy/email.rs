//! Email addresses, as far as a policy may believe them.

/// The two sides of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EmailAddress<'a> {
    /// As given.
    pub(crate) whole: &'a str,
    /// What stands behind the `@`.
    pub(crate) domain: &'a str,
}

impl<'a> EmailAddress<'a> {
    /// `None` unless the text has exactly one `@`, something on both sides of it, and neither white
    /// space nor control characters. RFC 5321 (4.1.2) allows more in quotes, such as
    /// `"x@example.com"@evil.example`; programs differ in which part of such an address is its
    /// domain, so it counts as no address.
    pub(crate) fn parse(text: &'a str) -> Option<EmailAddress<'a>> {
        let (local, domain) = text.split_once('@')?;
        if local.is_empty() || domain.is_empty() || domain.contains('@') || is_odd(text) {
            return None;
        }
        Some(EmailAddress { whole: text, domain })
    }
}

/// Whether a text has white space or control characters. Policies ask it with each request, and nearly
/// all addresses are plain: for those, no character is decoded.
fn is_odd(text: &str) -> bool {
    let is_plain = text.bytes().fold(true, |plain, byte| plain & byte.is_ascii_graphic());
    !is_plain && text.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_domain_follows_the_only_at_sign() {
        let domain = |text| EmailAddress::parse(text).map(|address| address.domain);
        assert_eq!(domain("ann@example.com"), Some("example.com"));
        assert_eq!(domain("Ann+x@Example.com"), Some("Example.com"));
        assert_eq!(domain("ü@exämple.com"), Some("exämple.com"));
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
