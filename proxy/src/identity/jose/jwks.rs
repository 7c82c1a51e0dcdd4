//! Our public keys, as upstreams fetch them (RFC 7517). Pure.

use bytes::Bytes;
use http::HeaderValue;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::{SigningKey, base64url};

/// A key set, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwks {
    /// JSON.
    pub body: Bytes,
    /// A strong entity tag: it changes with the body.
    pub etag: HeaderValue,
}

/// The key set of these keys, in their order.
pub fn public_jwks(keys: &[SigningKey]) -> Jwks {
    let keys: Vec<_> = keys.iter().map(SigningKey::public_jwk).collect();
    let body = Bytes::from(json!({ "keys": keys }).to_string());
    let tag = base64url::encode(digest(&SHA256, &body).as_ref());
    // Letters, digits, `-` and `_` in quotation marks always are a header value.
    let etag = HeaderValue::try_from(format!("\"{tag}\""));
    Jwks { body, etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")) }
}
