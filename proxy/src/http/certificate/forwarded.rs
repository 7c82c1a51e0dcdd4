//! The headers that tell an upstream of a certificate, made once for each certificate.

use std::{cell::RefCell, rc::Rc};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;

use super::{ClientCertificate, xfcc};
use crate::{
    http::{
        headers::{CLIENT_CERT, CLIENT_CERT_CHAIN, FORWARDED_CLIENT_CERT},
        spec::{CertificateHeaders, Rfc9440, XfccFields},
    },
    tls::{ClientTrust, Judged},
};

/// The most sets of headers that are remembered: more than one host has.
const MAX_SETS: usize = 8;

type Headers = Rc<[(HeaderName, HeaderValue)]>;

/// Sets of headers by what they depend on.
#[derive(Debug, Default)]
pub(super) struct Forwarded(RefCell<Vec<(Key, Headers)>>);

/// The judgement stands for the chain, the digest of the trust for the anchors in it.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    wanted: CertificateHeaders,
    trust: [u8; 32],
    judged: Judged,
}

impl Forwarded {
    pub(super) fn get(
        &self,
        of: &ClientCertificate,
        wanted: CertificateHeaders,
        trust: &ClientTrust,
        judged: &Judged,
    ) -> Headers {
        let key = Key { wanted, trust: trust.digest(), judged: *judged };
        let mut sets = self.0.borrow_mut();
        if let Some((_, headers)) = sets.iter().find(|(known, _)| *known == key) {
            return headers.clone();
        }
        let headers = make(of, wanted, trust.issuers(judged, &of.shown.intermediates).as_deref());
        if sets.len() == MAX_SETS {
            sets.remove(0);
        }
        sets.push((key, headers.clone()));
        headers
    }
}

/// `issuers` are those of the verified chain; where they are not known, nothing is said of them.
fn make(
    of: &ClientCertificate,
    wanted: CertificateHeaders,
    issuers: Option<&[&CertificateDer<'_>]>,
) -> Headers {
    let mut headers = Vec::new();
    if wanted.rfc9440 != Rfc9440::None {
        headers.extend(field(CLIENT_CERT, byte_sequence(of.leaf())));
    }
    // A list without members is not sent (RFC 8941 section 3.1).
    if let (Rfc9440::Chain, Some(issuers @ [_, ..])) = (wanted.rfc9440, issuers) {
        let items: Vec<String> = issuers.iter().map(|der| byte_sequence(der)).collect();
        headers.extend(field(CLIENT_CERT_CHAIN, items.join(", ")));
    }
    if wanted.xfcc != XfccFields::default() {
        headers.extend(field(FORWARDED_CLIENT_CERT, xfcc::element(of, wanted.xfcc, issuers)));
    }
    headers.into()
}

/// A field with something to say. It differs from client to client, so that compression by a table
/// that they share would not gain by it (RFC 9440 section 3.1).
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
