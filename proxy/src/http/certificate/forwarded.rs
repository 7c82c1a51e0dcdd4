//! The headers that describe a certificate to an upstream, built once per certificate.

use std::{cell::RefCell, rc::Rc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;

use super::{leaf::PeerLeaf, texts::CertificateTexts, xfcc};
use crate::{
    http::spec::{CertificateHeaders, Rfc9440, XfccFields},
    tls::{ClientTrust, VerifiedChain},
};

/// The client's certificate (RFC 9440).
pub(in crate::http) const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");

/// Its issuers (RFC 9440).
pub(in crate::http) const CLIENT_CERT_CHAIN: HeaderName =
    HeaderName::from_static("client-cert-chain");

/// Both in Envoy's form.
pub(in crate::http) const FORWARDED_CLIENT_CERT: HeaderName =
    HeaderName::from_static("x-forwarded-client-cert");

/// How many sets of headers are remembered: more than one host uses.
const MAX_SETS: usize = 8;

type Headers = Rc<[(HeaderName, HeaderValue)]>;

/// Sets of headers, by everything that they depend on.
#[derive(Debug, Default)]
pub(super) struct CertificateHeaderCache(RefCell<Vec<(CacheKey, Headers)>>);

/// The verification stands for the chain, the digest of the trust for the anchors in it.
#[derive(Debug, PartialEq, Eq)]
struct CacheKey {
    wanted: CertificateHeaders,
    trust_digest: [u8; 32],
    judged: VerifiedChain,
}

impl CertificateHeaderCache {
    /// The headers for a leaf, which must be the same each time.
    pub(super) fn get(
        &self,
        (leaf, texts): (&PeerLeaf, &CertificateTexts),
        wanted: CertificateHeaders,
        trust: &ClientTrust,
        judged: &VerifiedChain,
    ) -> Headers {
        let key = CacheKey { wanted, trust_digest: trust.digest(), judged: *judged };
        let mut sets = self.0.borrow_mut();
        if let Some((_, headers)) = sets.iter().find(|(known, _)| *known == key) {
            return headers.clone();
        }
        let issuers = trust.issuers(judged, &leaf.chain().intermediates);
        let headers = make((leaf, texts), wanted, issuers.as_deref());
        if sets.len() == MAX_SETS {
            sets.remove(0);
        }
        sets.push((key, headers.clone()));
        headers
    }
}

/// `issuers` is the verified chain above the leaf; `None`, if it was not kept, leaves it out.
fn make(
    (leaf, texts): (&PeerLeaf, &CertificateTexts),
    wanted: CertificateHeaders,
    issuers: Option<&[&CertificateDer<'_>]>,
) -> Headers {
    let mut headers = Vec::new();
    if wanted.rfc9440 != Rfc9440::None {
        headers.extend(field(CLIENT_CERT, byte_sequence(leaf.der())));
    }
    // An empty list is not sent (RFC 8941 section 3.1).
    if let (Rfc9440::Chain, Some(issuers @ [_, ..])) = (wanted.rfc9440, issuers) {
        let items: Vec<String> = issuers.iter().map(|der| byte_sequence(der)).collect();
        headers.extend(field(CLIENT_CERT_CHAIN, items.join(", ")));
    }
    if wanted.xfcc != XfccFields::default() {
        headers.extend(field(
            FORWARDED_CLIENT_CERT,
            xfcc::element((leaf, texts), wanted.xfcc, issuers),
        ));
    }
    headers.into()
}

/// A field; `None` if it would be empty. It differs from client to client, so it is marked to stay
/// out of HPACK's dynamic table (RFC 9440 section 3.1).
fn field(name: HeaderName, value: String) -> Option<(HeaderName, HeaderValue)> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from(value)).ok()?;
    value.set_sensitive(true);
    (!value.is_empty()).then_some((name, value))
}

/// RFC 8941 section 3.3.5.
fn byte_sequence(der: &[u8]) -> String {
    format!(":{}:", STANDARD.encode(der))
}

#[cfg(test)]
mod tests;
