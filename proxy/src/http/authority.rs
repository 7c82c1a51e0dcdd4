//! The host that a request is for.

use crate::hostname;

/// A host in the form in which hosts are compared, and its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Authority {
    /// Lower case, no trailing dot; an IPv6 address in its canonical text, without brackets.
    pub host: Box<str>,
    /// `None` if none is given.
    pub port: Option<u16>,
}

/// Why an authority is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AuthorityError {
    /// It carries user information (`user@`), which HTTP forbids (RFC 9110 section 4.2.4).
    UserInfo,
    /// It is not a host with an optional port.
    Malformed,
}

impl Authority {
    /// Reads `host`, `host:port`, `[v6]` or `[v6]:port`. An empty port is none (RFC 3986 section
    /// 3.2.3).
    ///
    /// Names must be valid by the rules of `crate::hostname`.
    pub(crate) fn parse(text: &str) -> Result<Authority, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInfo);
        }
        let (host, port) = split_port(text).ok_or(AuthorityError::Malformed)?;
        let host = match host.strip_prefix('[') {
            Some(_) => hostname::normalise_host(host),
            None => hostname::normalise(host),
        };
        Ok(Authority { host: host.ok_or(AuthorityError::Malformed)?, port })
    }
}

/// Splits at the colon before a port; `None` if no valid port follows it.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let end_of_host = text.rfind(']').unwrap_or(0);
    let after = text.get(end_of_host..)?;
    let Some(colon) = after.find(':') else {
        return Some((text, None));
    };
    let (host, port) = text.split_at_checked(end_of_host + colon)?;
    let digits = port.get(1..)?;
    if digits.is_empty() {
        return Some((host, None));
    }
    // `parse` alone would take a sign.
    let port = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((host, Some(port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::hostname::normalise_host;

    fn parsed(text: &str) -> (String, Option<u16>) {
        let authority = Authority::parse(text).unwrap();
        (authority.host.into_string(), authority.port)
    }

    #[test]
    fn case_trailing_dot_and_brackets_do_not_matter() {
        assert_eq!(parsed("App.Example.COM."), ("app.example.com".into(), None));
        assert_eq!(parsed("app.example.com.:8443"), ("app.example.com".into(), Some(8443)));
        assert_eq!(parsed("[2001:DB8:0:0::1]:443"), ("2001:db8::1".into(), Some(443)));
        assert_eq!(parsed("127.0.0.1:80"), ("127.0.0.1".into(), Some(80)));
        assert_eq!(parsed("a:"), ("a".into(), None));
        assert_eq!(parsed("[::1]:"), ("::1".into(), None));
        assert_eq!(parsed("a:00080"), ("a".into(), Some(80)));
        assert_eq!(normalise_host("::1").as_deref(), Some("::1"));
    }

    #[test]
    fn user_information_is_refused_as_such() {
        assert_eq!(Authority::parse("a@b.example"), Err(AuthorityError::UserInfo));
        assert_eq!(Authority::parse("a.example:1@b.example"), Err(AuthorityError::UserInfo));
    }

    #[test]
    fn what_is_no_host_with_a_port_is_refused() {
        for bad in [
            "",
            ".",
            "a..b",
            ".a",
            "a..",
            ":443",
            ":",
            "a::",
            "a:+80",
            "a:65536",
            "a:1:2",
            "a b",
            "a/b",
            "a\\b",
            "a,b",
            "*.a",
            "a%2eb",
            "[::1",
            "::1",
            "[::1]x",
            "[::1%25eth0]",
            "[a]",
            "é.example",
        ] {
            assert_eq!(Authority::parse(bad), Err(AuthorityError::Malformed), "{bad:?}");
        }
        assert_eq!(Authority::parse(&"a".repeat(254)), Err(AuthorityError::Malformed));
    }

    proptest! {
        #[test]
        fn a_host_and_the_same_name_in_a_handshake_have_one_form(text in "[a-zA-Z0-9._-]{0,20}") {
            let of_handshake = crate::tls::normalize_server_name(&text);
            let of_request = Authority::parse(&text).ok().map(|authority| authority.host);
            match text.trim_end_matches('.').parse::<std::net::IpAddr>() {
                Ok(_) => prop_assert_eq!(of_handshake, None),
                Err(_) => prop_assert_eq!(of_handshake, of_request),
            }
        }

        #[test]
        fn any_text_is_refused_or_becomes_a_form_that_stays_the_same(text in "\\PC{0,40}|[a-zA-Z0-9.:\\[\\]@_-]{0,20}") {
            if let Ok(authority) = Authority::parse(&text) {
                let again = normalise_host(&authority.host);
                prop_assert_eq!(again.as_deref(), Some(&*authority.host));
                prop_assert!(!authority.host.ends_with('.') && !authority.host.starts_with('.'));
                prop_assert!(!authority.host.bytes().any(|b| b.is_ascii_uppercase()));
            }
        }
    }
}
