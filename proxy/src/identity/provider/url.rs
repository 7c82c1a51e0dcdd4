//! A URL of the provider that we call.

use http::{Uri, uri::PathAndQuery};

use crate::identity::calls::ProviderFailure;

/// Maximum length of a URL in bytes.
const MAX_URL_BYTES: usize = 2048;

/// An `https` URL, or an `http` URL of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct ProviderUrl {
    /// As it was written.
    pub(in crate::identity) text: Box<str>,
    /// Without brackets.
    pub(in crate::identity) host: Box<str>,
    pub(in crate::identity) port: u16,
    pub(in crate::identity) is_tls: bool,
    pub(in crate::identity) path: PathAndQuery,
}

impl ProviderUrl {
    /// Reads a URL; `what` names it in the error.
    pub(in crate::identity) fn parse(
        what: &str,
        text: &str,
    ) -> Result<ProviderUrl, ProviderFailure> {
        read(text).ok_or_else(|| {
            let why = "is neither an https URL nor an http URL of this machine";
            ProviderFailure::Invalid(format!("{what} {why}"))
        })
    }

    /// Whether the host is this machine.
    pub(in crate::identity) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The URL of another path of the same server.
    pub(in crate::identity) fn with_path(&self, path: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority())
    }

    /// `host` or `host:port`, as the `Host` field has it.
    pub(in crate::identity) fn authority(&self) -> String {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => format!("{open}{}{close}", self.host),
            (_, port) => format!("{open}{}{close}:{port}", self.host),
        }
    }
}

fn read(text: &str) -> Option<ProviderUrl> {
    if text.len() > MAX_URL_BYTES || text.contains(['#', '\\']) {
        return None;
    }
    let uri: Uri = text.parse().ok()?;
    let is_tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    // `http` ignores a port that is no number.
    let has_bad_port = authority.port().is_none() && authority.as_str() != authority.host();
    if host.is_empty() || has_bad_port || !(is_tls || is_loopback(host)) {
        return None;
    }
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let path = uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    Some(ProviderUrl {
        text: text.into(),
        host: host.to_ascii_lowercase().into(),
        port,
        is_tls,
        path,
    })
}

/// Names of this machine need no DNS (RFC 6761, section 6.3).
fn is_loopback(host: &str) -> bool {
    match host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_and_http_on_this_machine_are_urls_of_a_provider() {
        for good in [
            "https://idp.example",
            "https://idp.example:8443/a?b=c",
            "HTTPS://idp.example/",
            "http://127.0.0.1:9400/token",
            "http://localhost/token",
            "http://[::1]:9400/",
            "http://127.9.9.9/",
        ] {
            assert!(read(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "/token",
            "idp.example",
            "ftp://idp.example/",
            "http://idp.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://127.0.0.1@idp.example/",
            "https://user@idp.example/",
            "https://user@idp.example:443/",
            "https://idp.example/#a",
            "https://idp.example:99999/",
            "https://idp.example:x/",
            "https:///token",
            "https://idp.example\\@evil.example/",
            "https://idp example/",
        ] {
            assert!(read(bad).is_none(), "{bad}");
        }
        assert!(read(&format!("https://idp.example/{}", "a".repeat(MAX_URL_BYTES))).is_none());
    }

    #[test]
    fn the_host_field_has_a_port_only_where_it_is_not_the_usual_one() {
        for (url, authority) in [
            ("https://idp.example", "idp.example"),
            ("https://idp.example:443/", "idp.example"),
            ("https://idp.example:80/", "idp.example:80"),
            ("http://[::1]:9400/", "[::1]:9400"),
            ("http://127.0.0.1/", "127.0.0.1"),
        ] {
            assert_eq!(read(url).unwrap().authority(), authority);
        }
    }
}
