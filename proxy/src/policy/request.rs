//! What a policy is asked about. Everything is borrowed, and what costs is asked for only where a
//! criterion needs it.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// The facts of one request.
#[derive(Clone, Copy)]
pub struct PolicyInput<'a> {
    /// As it stands in the request line.
    pub method: &'a str,
    /// Decoded and normalized as it is for routing, without the query.
    pub path: &'a str,
    /// The client's address, after trusted hops are taken off.
    pub source_ip: IpAddr,
    /// Whether this is `OPTIONS` with both `Origin` and `Access-Control-Request-Method`.
    pub is_cors_preflight: bool,
    /// What the client has shown of itself on the connection.
    pub client_certificate: ClientCertificateStatus<'a>,
    /// Who the user is; `None` if nobody is signed in.
    pub identity: Option<&'a Identity>,
}

/// The client certificate as the route's client CA judges it now.
#[derive(Clone, Copy)]
pub enum ClientCertificateStatus<'a> {
    /// No client CA applies to the route, so nothing is asked for or judged. One may be there all
    /// the same, presented for the sake of another route of the host.
    Unverified(Option<&'a dyn LeafCertificate>),
    /// A client CA applies, and no certificate was presented.
    Missing,
    /// Untrusted, expired, revoked, too deep, of another name or for another purpose.
    Invalid(&'a dyn LeafCertificate),
    /// The client CA vouches for it, and it holds now.
    Trusted(&'a dyn LeafCertificate),
}

impl<'a> ClientCertificateStatus<'a> {
    /// The presented leaf, whatever it is worth: the peer has proven to hold its key.
    pub(super) fn presented(self) -> Option<&'a dyn LeafCertificate> {
        match self {
            ClientCertificateStatus::Missing => None,
            ClientCertificateStatus::Unverified(leaf) => leaf,
            ClientCertificateStatus::Invalid(leaf) | ClientCertificateStatus::Trusted(leaf) => {
                Some(leaf)
            }
        }
    }

    /// Whether somebody vouches for what the leaf says of its holder.
    pub(super) fn is_trusted(self) -> bool {
        matches!(self, ClientCertificateStatus::Trusted(_))
    }
}

/// The leaf of the chain that a client presented. One connection asks the same for every request,
/// and one policy perhaps more than once, so answers are best remembered by who gives them.
pub trait LeafCertificate {
    /// SHA-256 of the certificate.
    fn fingerprint(&self) -> [u8; 32];

    /// SHA-256 of its SubjectPublicKeyInfo; `None` where it cannot be read, and nothing matches.
    fn spki_hash(&self) -> Option<[u8; 32]>;

    /// Its subject alternative names of one kind, as they are written in it.
    fn subject_alt_names(&self, kind: SanKind) -> &[Box<str>];
}

/// The kinds of subject alternative names that a policy can ask about (RFC 5280, 4.2.1.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SanKind {
    /// `rfc822Name`
    Email,
    /// `dNSName`
    Dns,
    /// `uniformResourceIdentifier`
    Uri,
}

/// Who the user is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Identity {
    /// What the identity provider calls the user; empty for a session without one.
    pub user_id: Box<str>,
    /// The email address; empty if there is none.
    pub email: Box<str>,
    /// The session's claims overlaid by the user's: each a list of values, one value, or claims
    /// below it.
    pub claims: Map<String, Value>,
}
