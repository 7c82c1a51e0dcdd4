//! The input of a policy. Everything is borrowed, and costly parts are computed only if a criterion
//! needs them.

use std::net::IpAddr;

use serde_json::{Map, Value};

use super::email::EmailAddress;

/// The properties of a request that a policy depends on.
#[derive(Clone, Copy)]
pub struct PolicyInput<'a> {
    /// The method, as in the request line.
    pub method: &'a str,
    /// The path, decoded and normalized as for routing, without the query.
    pub path: &'a str,
    /// The client's address, without trusted hops.
    pub source_ip: IpAddr,
    /// Whether this is `OPTIONS` with both `Origin` and `Access-Control-Request-Method`.
    pub is_cors_preflight: bool,
    /// The client certificate of the connection.
    pub client_certificate: ClientCertificateStatus<'a>,
    /// The user; `None` if no user is signed in.
    pub identity: Option<&'a Identity>,
}

/// The client certificate, verified against the route's client CA at the time of the request.
#[derive(Clone, Copy)]
pub enum ClientCertificateStatus<'a> {
    /// The route has no client CA, so no certificate is required or verified. There may be one that
    /// the client presented for another route of the host.
    Unverified(Option<&'a dyn LeafCertificate>),
    /// The route has a client CA, and no certificate was presented.
    Missing,
    /// The certificate is untrusted, expired, revoked, has a chain that is too long, or has the wrong
    /// name or purpose.
    Invalid(&'a dyn LeafCertificate),
    /// The client CA trusts the certificate, and it is valid now.
    Trusted(&'a dyn LeafCertificate),
}

impl<'a> ClientCertificateStatus<'a> {
    /// The presented leaf, whether trusted or not: the peer has proven possession of its key.
    pub(super) fn presented(self) -> Option<&'a dyn LeafCertificate> {
        match self {
            ClientCertificateStatus::Missing => None,
            ClientCertificateStatus::Unverified(leaf) => leaf,
            ClientCertificateStatus::Invalid(leaf) | ClientCertificateStatus::Trusted(leaf) => {
                Some(leaf)
            }
        }
    }

    /// Whether the names in the leaf can be trusted.
    pub(super) fn is_trusted(self) -> bool {
        matches!(self, ClientCertificateStatus::Trusted(_))
    }
}

/// The leaf of the chain that a client presented. Every request of a connection may need the same
/// values, so implementations should cache them.
pub trait LeafCertificate {
    /// SHA-256 of the certificate.
    fn fingerprint(&self) -> [u8; 32];

    /// SHA-256 of its SubjectPublicKeyInfo; `None`, which matches nothing, if it cannot be parsed.
    fn spki_hash(&self) -> Option<[u8; 32]>;

    /// Its subject alternative names of one kind, unchanged.
    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>];
}

/// The kinds of subject alternative names that a policy can match (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    /// `rfc822Name`
    Email,
    /// `dNSName`
    Dns,
    /// `uniformResourceIdentifier`
    Uri,
}

/// A signed-in user.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// The user's id at the identity provider; empty for a session without a user.
    pub user_id: Box<str>,
    /// The email address; empty if there is none that counts.
    pub email: EmailAddress,
    /// The session's claims overlaid by the user's: each a list of values, one value, or claims
    /// below it.
    pub claims: Map<String, Value>,
}
