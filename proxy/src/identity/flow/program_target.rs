//! Where a program wants its token: a URL of its own, mostly at a loopback address. Pure.

use std::net::IpAddr;

use http::Uri;

use super::parameters::{encode, single};
use crate::hostname;

/// The longest URL, in bytes: sealed, it has to fit into a return path.
const MAX_LEN: usize = 400;

/// The parameter that carries the token.
const TOKEN: &str = "pomerium_jwt";

/// The name that stands for every loopback address.
const LOCALHOST: &str = "localhost";

/// A URL of a host that may take tokens. A browser reads it as this type does.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ProgramTarget(Box<str>);

impl ProgramTarget {
    /// Reads a URL; `None` unless one of these hosts is its host. Hosts that are no loopback address
    /// need `https`.
    pub(super) fn parse(text: &str, hosts: &[Box<str>]) -> Option<ProgramTarget> {
        let is_plain =
            text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'#'));
        if text.len() > MAX_LEN || !is_plain {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        // Neither user information nor a port that browsers would read in another way.
        if authority.as_str() != format!("{}{port}", authority.host()) {
            return None;
        }
        let host = hostname::normalise_host(authority.host())?;
        let is_listed = |name: &str| hosts.iter().any(|host| **host == *name);
        let is_loopback = is_loopback(&host);
        let is_allowed = is_listed(&host) || is_loopback && is_listed(LOCALHOST);
        let is_secret = match uri.scheme_str()? {
            "https" => text.starts_with("https://"),
            "http" => text.starts_with("http://") && is_loopback,
            _ => false,
        };
        let has_token = single(uri.query().unwrap_or_default(), TOKEN) != Ok(None);
        (is_allowed && is_secret && !has_token).then(|| ProgramTarget(text.into()))
    }

    /// As it was given.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> &str {
        let start = self.0.find("://").map_or(0, |at| at + 3);
        let authority = self.0.get(start..).unwrap_or_default();
        let end = authority.find(['/', '?']).map_or(self.0.len(), |at| start + at);
        self.0.get(..end).unwrap_or_default()
    }

    /// The URL with the token.
    pub(super) fn with_token(&self, token: &str) -> String {
        let rest = self.0.get(self.origin().len()..).unwrap_or_default();
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let joint = if rest.contains('?') { "&" } else { "?" };
        format!("{}{slash}{rest}{joint}{}", self.origin(), encode([(TOKEN, token)]))
    }
}

/// Whether a host in the form of [`crate::hostname`] is this computer for every browser.
fn is_loopback(host: &str) -> bool {
    host == LOCALHOST
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Its query may hold a secret of the program.
impl std::fmt::Debug for ProgramTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ProgramTarget({})", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str, hosts: &[&str]) -> Option<ProgramTarget> {
        let hosts: Vec<Box<str>> = hosts.iter().map(|host| Box::from(*host)).collect();
        ProgramTarget::parse(text, &hosts)
    }

    #[test]
    fn localhost_stands_for_every_loopback_address() {
        for good in [
            "http://localhost",
            "http://127.0.0.1:34567",
            "http://127.9.9.9:1/a?b=c",
            "http://[::1]:80/",
            "https://localhost:8443/x",
            "http://LOCALHOST:1",
            "http://localhost.:1",
        ] {
            assert!(parse(good, &["localhost"]).is_some(), "{good}");
            assert!(parse(good, &[]).is_none(), "{good}");
        }
    }

    #[test]
    fn no_form_of_a_url_leads_to_a_host_off_the_list() {
        for bad in [
            "http://localhost.evil/",
            "http://localhost@evil/",
            "http://evil#localhost",
            "http://evil\\@localhost/",
            "http://localhost\\@evil/",
            "http://localhost:80@evil/",
            "http://localhost:x@evil/",
            "http://evil/localhost",
            "http://evil?localhost",
            "http://127.0.0.1.evil/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://2130706433/",
            "http://0.0.0.0:1/",
            "http://10.0.0.1/",
            "http://[::]/",
            "http://%6cocalhost/",
            "http://localhost%00.evil/",
            "http://localhost%2eevil/",
            "http:/localhost",
            "http:localhost",
            "http:///localhost",
            "//localhost/",
            "/localhost",
            "localhost",
            "",
            "http://",
            "javascript://localhost/%0aalert(1)",
            "data:text/html,localhost",
            "ftp://localhost/",
            "HTTP://localhost/",
            "http://localhost:/",
            "http://localhost:99999/",
            "http://localhost:080/",
            " http://localhost/",
            "http://localhost/ x",
            "http://localhost/\r\nSet-Cookie: a=b",
            "http://localhost/\u{e9}",
            "http://localhost/#x",
            "http://localhost/?pomerium_jwt=x",
            "http://localhost/?a=b&pomerium%5Fjwt=x",
        ] {
            assert!(parse(bad, &["localhost"]).is_none(), "{bad}");
        }
        assert!(parse(&format!("http://localhost/{}", "x".repeat(400)), &["localhost"]).is_none());
    }

    #[test]
    fn another_host_needs_https_and_its_very_name() {
        let hosts = ["tools.example.com"];
        assert!(parse("https://tools.example.com/cb", &hosts).is_some());
        assert!(parse("https://Tools.Example.com:8443", &hosts).is_some());
        for bad in [
            "http://tools.example.com/cb",
            "https://a.tools.example.com/",
            "https://tools.example.com.evil/",
            "https://eviltools.example.com/",
            "https://example.com/",
            "http://localhost/",
        ] {
            assert!(parse(bad, &hosts).is_none(), "{bad}");
        }
    }

    #[test]
    fn the_token_is_a_parameter_of_the_program_s_own_url() {
        let with = |text: &str| parse(text, &["localhost"]).unwrap().with_token("a.b-c");
        assert_eq!(with("http://localhost:1"), "http://localhost:1/?pomerium_jwt=a.b-c");
        assert_eq!(with("http://localhost:1/"), "http://localhost:1/?pomerium_jwt=a.b-c");
        assert_eq!(with("http://localhost?x=/y"), "http://localhost/?x=/y&pomerium_jwt=a.b-c");
        assert_eq!(with("http://[::1]:1/a?b"), "http://[::1]:1/a?b&pomerium_jwt=a.b-c");
        let target = parse("http://localhost:1/?state=secret", &["localhost"]).unwrap();
        assert_eq!(format!("{target:?}"), "ProgramTarget(http://localhost:1)");
    }

    proptest! {
        #[test]
        fn a_url_of_any_kind_stays_at_its_origin(
            text in "\\PC{0,40}|https?://[a-z0-9@:./\\\\?#\\[\\]%]{0,24}|http://localhost\\PC{0,20}",
        ) {
            let Some(target) = parse(&text, &["localhost"]) else { return Ok(()) };
            let with_token = target.with_token("t");
            prop_assert!(with_token.starts_with(target.origin()), "{with_token}");
            let uri: Uri = with_token.parse().unwrap();
            prop_assert!(is_loopback(&hostname::normalise_host(uri.host().unwrap()).unwrap()));
            prop_assert_eq!(single(uri.query().unwrap(), TOKEN), Ok(Some("t".to_owned())));
        }
    }
}
