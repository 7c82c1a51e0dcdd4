//! The classes of request headers, by name.

use std::borrow::Cow;

use crate::fields::{hop_by_hop_names, is_hop_by_hop};

/// How a request header is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The application's: passed on.
    EndToEnd,
    /// Removed: it concerns the client's connection alone (RFC 9110 section 7.6.1), or is meant for us.
    HopByHop,
    /// Removed: upstreams believe it because only a proxy may set it.
    Reserved,
    /// What proxies say of the client and of its request. Removed, unless a trusted proxy sent it or
    /// the configuration passes it on.
    Forwarding,
    /// `Cookie`, where our session lives.
    Cookie,
    /// `Authorization`, where our session may live.
    Authorization,
    /// Describes the message or its way here; read and written by us, in its own spelling only.
    Message,
}

/// The class of a header, its name in the form of [`folded`].
pub(super) fn class(name: &str) -> Class {
    match name {
        "cookie" => Class::Cookie,
        "authorization" => Class::Authorization,
        hop_by_hop_names!() | "http2-settings" | "expect" | "proxy-authorization" => {
            Class::HopByHop
        }
        "host" | "content-length" | "x-request-id" | "x-forwarded-for" | "x-forwarded-proto"
        | "x-forwarded-host" => Class::Message,
        _ if is_reserved(name) => Class::Reserved,
        _ if is_forwarding(name) => Class::Forwarding,
        _ => Class::EndToEnd,
    }
}

/// Whether servers take it for a proxy's word. This includes every header for client certificates that
/// a server reads once it trusts its proxy, whichever proxy it was written for.
fn is_reserved(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-") else {
        return match name.as_bytes().first() {
            Some(b'c') => matches!(name, "client-cert" | "client-cert-chain"),
            // CGI makes HTTP_PROXY of it, which HTTP clients obey (httpoxy).
            Some(b'p') => name == "proxy",
            // Apache's variables, ingress-nginx, Keycloak.
            Some(b's') => name.starts_with("ssl-client-"),
            // WebLogic.
            Some(b'w') => name.starts_with("wl-proxy-"),
            // WebSphere: `$WSCC` is the certificate, `$WSRU` the user.
            Some(b'-') => name.starts_with("-ws"),
            _ => false,
        };
    };
    match rest.as_bytes().first() {
        // AWS; Azure.
        Some(b'a') => rest.starts_with("amzn-mtls-clientcert") || rest == "arr-clientcert",
        // ASP.NET.
        Some(b'c') => rest.starts_with("client-cert"),
        // An Envoy behind us obeys its own if it trusts us.
        Some(b'e') => rest.starts_with("envoy-"),
        // The second is Traefik's.
        Some(b'f') => {
            rest == "forwarded-client-cert" || rest.starts_with("forwarded-tls-client-cert")
        }
        Some(b'p') => rest.starts_with("pomerium-"),
        // HAProxy's and nginx's manuals.
        Some(b's') => rest.starts_with("ssl-client-") || rest.starts_with("ssl-cert"),
        _ => false,
    }
}

/// Whether a header, its name in lower case, is one of [`Class::Forwarding`].
pub(crate) fn is_forwarding_name(name: &str) -> bool {
    class(name) == Class::Forwarding
}

/// Whether servers and frameworks take from it the client's address, or the URL that it asked for.
fn is_forwarding(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("x-") else {
        return matches!(name, "forwarded" | "true-client-ip");
    };
    match rest.as_bytes().first() {
        Some(b'c') => matches!(rest, "client-ip" | "cluster-client-ip"),
        Some(b'f') => rest.starts_with("forwarded-"),
        Some(b'o') => matches!(rest, "original-host" | "original-uri" | "original-url"),
        Some(b'r') => matches!(rest, "real-ip" | "rewrite-url"),
        _ => false,
    }
}

/// Whether a name in lower case has letters, digits and `-` alone, which all servers read alike.
pub(in crate::http) fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The name as upstreams read it that fold every other character into `-` or `_` (CGI, WSGI).
pub(super) fn folded(name: &str) -> Cow<'_, str> {
    match is_plain(name) {
        true => Cow::Borrowed(name),
        false => {
            let plain = |char: char| if char.is_ascii_alphanumeric() { char } else { '-' };
            Cow::Owned(name.chars().map(plain).collect())
        }
    }
}

/// Whether a rule of the configuration may set or remove this header: not if it frames the message or
/// names its recipient.
pub(super) fn is_configurable(name: &str) -> bool {
    !is_hop_by_hop(name)
        && !matches!(name, "content-length" | "expect" | "host" | "http2-settings" | "trailer")
}
