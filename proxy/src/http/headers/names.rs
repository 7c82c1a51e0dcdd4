//! What a request header is to us, by its name.

use std::borrow::Cow;

/// What a request header is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// The application's: passed on.
    EndToEnd,
    /// Concerns the client's connection alone (RFC 9110 section 7.6.1), or is consumed by us.
    HopByHop,
    /// Says something that upstreams believe because only a proxy may say it.
    Reserved,
    /// `Cookie`, where our session lives.
    Cookie,
    /// `Authorization`, where our session may live.
    Authorization,
    /// Names the message or the way it took; read and written by us, in its own spelling only.
    Message,
}

/// The class of a header, its name in lower case with dashes.
pub(super) fn class(name: &str) -> Class {
    match name {
        "cookie" => Class::Cookie,
        "authorization" => Class::Authorization,
        "connection"
        | "keep-alive"
        | "proxy-connection"
        | "te"
        | "transfer-encoding"
        | "upgrade"
        | "http2-settings"
        | "expect"
        | "proxy-authorization" => Class::HopByHop,
        "host" | "content-length" | "x-request-id" | "x-forwarded-for" | "x-forwarded-proto"
        | "x-forwarded-host" => Class::Message,
        "x-forwarded-client-cert" | "client-cert" | "client-cert-chain" => Class::Reserved,
        // The second because an Envoy behind us obeys its own from whoever it trusts.
        _ if name.starts_with("x-pomerium-") || name.starts_with("x-envoy-") => Class::Reserved,
        _ => Class::EndToEnd,
    }
}

/// The name as upstreams that fold `_` into `-` (CGI, WSGI) would read it.
pub(super) fn folded(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    }
}

/// Whether a rule of the configuration may set or remove this header: those that say where a
/// message ends or whom it is for are not its business.
pub(super) fn is_configurable(name: &str) -> bool {
    !matches!(
        name,
        "connection"
            | "content-length"
            | "expect"
            | "host"
            | "http2-settings"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}
