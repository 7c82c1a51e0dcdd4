//! `/.well-known/pomerium`: where sign-in is, and the public keys of assertions. For everybody, on
//! every host.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use super::{
    error_page::with_type,
    negotiation::ContentNegotiation,
    request::RequestTarget,
    respond::{self, LocalReply},
};
use crate::identity::{config::IdentityConfig, flow::SignInClients, spec::origin};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVERY_ORIGIN: HeaderValue = HeaderValue::from_static("*");
const ONE_MINUTE: HeaderValue = HeaderValue::from_static("max-age=60");

/// The public keys (RFC 7517).
pub(super) fn jwks(
    people: &IdentityConfig,
    (method, headers): (&Method, &HeaderMap),
    negotiation: &ContentNegotiation,
) -> LocalReply {
    if !is_read(method) {
        return not_read(negotiation);
    }
    let keys = &people.jwks;
    let response = match has(headers, &keys.etag) {
        true => {
            let mut response = Response::new(Bytes::new());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => with_type(StatusCode::OK, JSON, keys.body.clone()),
    };
    LocalReply::new(response, negotiation)
        .with_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, EVERY_ORIGIN)
        .with_header(header::CACHE_CONTROL, ONE_MINUTE)
        .with_header(header::ETAG, keys.etag.clone())
}

/// Where the parts of sign-in are, for the host of the request.
pub(super) fn discovery(
    people: &IdentityConfig,
    method: &Method,
    target: &RequestTarget,
    negotiation: &ContentNegotiation,
) -> LocalReply {
    if !is_read(method) {
        return not_read(negotiation);
    }
    let here = origin(&target.host, target.port.unwrap_or(443));
    let mut document = serde_json::json!({
        // As the `iss` of assertions with `jwt_issuer_format: uri`, which has no port.
        "issuer": format!("{}/", origin(&target.host, 443)),
        "jwks_uri": format!("{here}/.well-known/pomerium/jwks.json"),
    });
    if let Some(sign_in) = people.sign_in.as_ref().map(SignInClients::main) {
        let authenticate = sign_in.spec.authenticate.origin();
        document["authentication_callback_endpoint"] =
            format!("{authenticate}/oauth2/callback").into();
        document["frontchannel_logout_uri"] = format!("{here}/.pomerium/sign_out").into();
    }
    let response = with_type(StatusCode::OK, JSON, document.to_string().into());
    LocalReply::new(response, negotiation)
        .with_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, EVERY_ORIGIN)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn not_read(negotiation: &ContentNegotiation) -> LocalReply {
    respond::direct(StatusCode::METHOD_NOT_ALLOWED, &Bytes::new(), negotiation)
        .with_header(header::ALLOW, HeaderValue::from_static("GET, HEAD"))
        .with_header(header::ACCESS_CONTROL_ALLOW_ORIGIN, EVERY_ORIGIN)
}

/// Whether the client has this version (RFC 9110, section 13.1.2).
fn has(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let etag = etag.as_bytes();
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| {
        let mut tags = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == etag)
    })
}
