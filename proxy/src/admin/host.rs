//! Which hosts a request to the administrative address may name. A web page can give its own name
//! this address (DNS rebinding) and then read what it serves; its requests name that host.

use std::net::IpAddr;

use http::{HeaderMap, Uri, header, uri::Authority};

use crate::hostname;

/// Allows every name.
pub(super) const ANY: &str = "*";

/// The hosts that requests may name.
#[derive(Debug, Default)]
pub(super) struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// IP addresses, `localhost`, and these names in normal form; [`ANY`] is every name.
    pub(super) fn new(names: &[String]) -> AllowedHosts {
        AllowedHosts(names.to_vec())
    }

    /// Whether a request may be answered. One that names no host comes from no browser.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let target = uri.authority().map(|authority| Some(authority.as_str()));
        named.chain(target).all(|host| host.is_some_and(|host| self.allows(host)))
    }

    fn allows(&self, host: &str) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.parse::<IpAddr>().is_ok() {
            return true;
        }
        let Some(name) = hostname::normalise(host) else { return false };
        &*name == "localhost" || self.0.iter().any(|known| *known == *name || known == ANY)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allowed(names: &[&str], hosts: &[&str], uri: &str) -> bool {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).unwrap());
        }
        AllowedHosts::new(&names).allow(&uri.parse().unwrap(), &headers)
    }

    #[test]
    fn addresses_and_localhost_are_allowed_and_names_are_not() {
        for host in ["127.0.0.1", "127.0.0.1:9464", "[::1]:9464", "10.1.2.3", "LOCALHOST:9464"] {
            assert!(allowed(&[], &[host], "/status"), "{host}");
        }
        for host in ["evil.test", "localhost.evil.test", "127.0.0.1.evil.test:9464", "", "a b"] {
            assert!(!allowed(&[], &[host], "/status"), "{host}");
        }
    }

    #[test]
    fn a_listed_name_is_allowed_in_any_case() {
        assert!(allowed(&["admin.internal"], &["Admin.Internal.:9464"], "/"));
        assert!(!allowed(&["admin.internal"], &["x.admin.internal"], "/"));
        assert!(allowed(&["*"], &["x.test"], "/"));
    }

    #[test]
    fn each_host_that_a_request_names_counts() {
        assert!(allowed(&[], &[], "/"), "a probe without a host");
        assert!(!allowed(&[], &["127.0.0.1", "evil.test"], "/"));
        assert!(!allowed(&[], &["127.0.0.1"], "http://evil.test/status"));
    }
}
