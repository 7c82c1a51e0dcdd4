//! Server names, as a client asks for them and as certificates have them.

use std::net::IpAddr;

use crate::{
    certificate::{AltName, ParsedCertificate},
    hostname,
};

/// A server name in the one form in which names are compared, which is also that of a request's
/// host. `None` for what is no name, and for an IP address, which SNI cannot carry.
pub(crate) fn normalize_server_name(name: &str) -> Option<Box<str>> {
    hostname::normalise(name).filter(|name| name.parse::<IpAddr>().is_err())
}

/// Drops one trailing dot.
pub(super) fn without_trailing_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// The DNS names of a certificate in lower case, without a trailing dot.
pub(super) fn dns_names(certificate: &ParsedCertificate<'_>) -> Vec<String> {
    let names = certificate.alt_names().into_iter().flatten();
    names
        .filter_map(|name| match name {
            AltName::Dns(name) => Some(without_trailing_dot(name).to_ascii_lowercase()),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_single_trailing_dot_belongs_to_a_name() {
        assert_eq!(normalize_server_name("A.example.").as_deref(), Some("a.example"));
        assert_eq!(normalize_server_name("a.example.."), None);
        assert_eq!(normalize_server_name("."), None);
        assert_eq!(normalize_server_name("::1"), None);
    }
}
