//! Addresses to listen on, as Go writes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Reads `:443`, `127.0.0.1:443`, `[::1]:443`, `localhost:443`, or only a host if a default port is
/// given.
pub(in crate::config) fn parse(
    text: &str,
    default_port: Option<u16>,
) -> Result<SocketAddr, String> {
    let text = text.trim();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address);
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return with_port(ip, default_port, text);
    }
    match text.split_once(':') {
        Some((host, port)) => {
            let port = port.parse().map_err(|_| format!("`{port}` is not a port"))?;
            Ok(SocketAddr::new(host_ip(host)?, port))
        }
        None => with_port(host_ip(text)?, default_port, text),
    }
}

fn with_port(ip: IpAddr, port: Option<u16>, text: &str) -> Result<SocketAddr, String> {
    port.map(|port| SocketAddr::new(ip, port)).ok_or_else(|| format!("`{text}` has no port"))
}

fn host_ip(host: &str) -> Result<IpAddr, String> {
    match host {
        // Go's "every address": an IPv6 socket that also accepts IPv4.
        "" => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => host.parse().map_err(|_| format!("`{host}` is not an IP address")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_in_go() {
        for (text, expected) in [
            (":443", "[::]:443"),
            ("0.0.0.0:443", "0.0.0.0:443"),
            ("127.0.0.1:8443", "127.0.0.1:8443"),
            ("[::1]:8443", "[::1]:8443"),
            ("[::1]", "[::1]:443"),
            ("::1", "[::1]:443"),
            ("10.0.0.1", "10.0.0.1:443"),
            ("localhost:9000", "127.0.0.1:9000"),
            ("localhost", "127.0.0.1:443"),
            (" :80 ", "[::]:80"),
        ] {
            assert_eq!(parse(text, Some(443)), Ok(expected.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [":https", ":70000", "example.com:443", "443x", "1.2.3:80", "[::1]:x", ":"] {
            assert!(parse(text, Some(443)).is_err(), "{text}");
        }
        assert_eq!(parse("127.0.0.1", None).unwrap_err(), "`127.0.0.1` has no port");
    }
}
