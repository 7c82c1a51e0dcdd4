//! URLs of `from` and `to`: scheme, host, port and path, strictly.

use std::net::IpAddr;

use crate::hostname;

/// A URL in normal form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    /// Lower case.
    pub(super) scheme: String,
    /// Lower case, no trailing dot, IPv6 without brackets; empty if absent. May contain `*`.
    pub(super) host: String,
    /// As written.
    pub(super) port: Option<u16>,
    /// With its leading `/`, or empty.
    pub(super) path: String,
}

impl Url {
    /// The host, if it is an IP address.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `host:port` as in a Host header, without the port if it is `own_port`.
    pub(super) fn authority(&self, own_port: u16) -> String {
        let host = match self.ip() {
            Some(IpAddr::V6(_)) => format!("[{}]", self.host),
            _ => self.host.clone(),
        };
        match self.port {
            Some(port) if port != own_port => format!("{host}:{port}"),
            _ => host,
        }
    }
}

/// Parses a URL.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        // Not shown, since it may contain a password.
        return Err("the URL contains white space".to_owned());
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(|| format!("`{text}` has no scheme"))?;
    if rest.contains(['?', '#']) {
        return Err("a query or a fragment is not allowed here".to_owned());
    }
    let path_start = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path_start);
    if authority.contains('@') {
        return Err("a user name or password is not allowed here".to_owned());
    }
    let (host, port) = split_port(authority)?;
    Ok(Url {
        scheme: scheme.to_ascii_lowercase(),
        host: normal_host(host)?,
        port: port.map(read_port).transpose()?,
        path: path.to_owned(),
    })
}

/// `host:port`, `[::1]:port`, or either without a port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (_, after) =
            rest.split_once(']').ok_or_else(|| "a `[` has no matching `]`".to_owned())?;
        let host = &authority[..authority.len() - after.len()];
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("`{after}` after the address is not a port")),
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address is written in brackets: https://[::1]:8443".to_owned())
        }
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn read_port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(format!("`{text}` is not a port")),
    }
}

/// A host in the form requests are normalised to.
fn normal_host(host: &str) -> Result<String, String> {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return match hostname::ipv6(address) {
            Some(address) => Ok(address.into()),
            None if address.contains('%') => {
                Err(format!("the zone of `{address}` is not supported"))
            }
            None => Err(format!("`{address}` is not an IPv6 address")),
        };
    }
    if host.is_empty() {
        return Ok(String::new());
    }
    if !host.is_ascii() {
        return Err(format!("`{host}` is not ASCII: write its punycode form (xn--…)"));
    }
    let normal = hostname::normalise_pattern(host);
    normal.map(String::from).ok_or_else(|| format!("`{host}` is not a host name"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn url(scheme: &str, host: &str, port: Option<u16>, path: &str) -> Url {
        Url { scheme: scheme.into(), host: host.into(), port, path: path.into() }
    }

    #[test]
    fn urls_are_taken_apart_and_normalised() {
        for (text, expected) in [
            ("https://Verify.Example.com.", url("https", "verify.example.com", None, "")),
            ("HTTPS://a:8443/x/y", url("https", "a", Some(8443), "/x/y")),
            ("http://[0:0::1]:80/", url("http", "::1", Some(80), "/")),
            ("https://*.example.com", url("https", "*.example.com", None, "")),
            ("unix:///run/app.sock", url("unix", "", None, "/run/app.sock")),
            ("h2c://127.0.0.1:50051", url("h2c", "127.0.0.1", Some(50051), "")),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn malformed_urls_are_refused() {
        for text in [
            "",
            "example.com",
            "//example.com",
            "https://a b",
            "https://a:x",
            "https://a:0",
            "https://a:65536",
            "https://a:+1",
            "https://a:",
            "https://::1",
            "https://[::1",
            "https://[::1]x",
            "https://[x]",
            "https://[fe80::1%25eth0]",
            "https://u:p@a",
            "https://a?q",
            "https://a#f",
            "https://a..b",
            "https://.",
            "https://ä.example",
            "https://a\\b",
            "https://a%2eb",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_authority_leaves_out_the_schemes_own_port() {
        assert_eq!(parse("https://a:443").unwrap().authority(443), "a");
        assert_eq!(parse("https://a:8443").unwrap().authority(443), "a:8443");
        assert_eq!(parse("https://[::1]:8443").unwrap().authority(443), "[::1]:8443");
        assert_eq!(parse("https://[::1]").unwrap().authority(443), "[::1]");
    }

    proptest! {
        #[test]
        fn a_host_has_the_form_that_requests_have(host in "[a-zA-Z0-9._-]{1,30}|\\[[0-9a-fA-F:]{2,12}\\]") {
            let of_url = parse(&format!("https://{host}")).ok().map(|url| url.host);
            let of_request = hostname::normalise_host(&host);
            prop_assert_eq!(of_url.as_deref(), of_request.as_deref());
        }

        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn url_like_text_is_read_or_refused_without_a_panic(text in "[a-z]{0,5}(://)?[a.:\\[\\]/@%*0-9]{0,30}") {
            let _ = parse(&text);
        }

        #[test]
        fn a_normal_url_stays_as_it_is(host in "[a-z0-9]{1,10}(\\.[a-z0-9]{1,10}){0,3}", port in 1u16.., path in "(/[a-z]{0,5}){0,3}") {
            let text = format!("https://{host}:{port}{path}");
            let parsed = parse(&text).unwrap();
            prop_assert_eq!(format!("https://{}{}", parsed.authority(0), parsed.path), text);
        }
    }
}
