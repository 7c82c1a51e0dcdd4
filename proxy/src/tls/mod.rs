//! TLS: certificates, verification, tickets, and the stream that carries HTTP.

mod alert;
mod algorithms;
mod anchors;
mod answer;
mod chain;
mod client;
mod client_auth;
mod context;
mod crl;
mod der;
mod early_data;
mod engine;
mod explain;
mod first_hello;
mod issuers;
mod material;
mod names;
#[cfg(test)]
mod oracle;
mod provider;
mod san;
mod select;
mod server;
mod session;
mod spec;
mod stream;
#[cfg(test)]
mod testing;
mod tickets;
mod transport;
mod trust;
mod upstream_verify;
mod validity;
mod verification_cache;
mod verify;

#[cfg(test)]
use crate::certificate::ParsedCertificate;

pub use anchors::TrustAnchors;
pub(crate) use chain::{ChainError, MAX_DEPTH as MAX_VERIFY_DEPTH, Refusal};
pub(crate) use client::{UpstreamTls, UpstreamTlsError};
pub(crate) use client_auth::ClientAuth;
pub use context::{ConnectionContext, with_context};
pub use crl::{CrlBundle, CrlStore};
pub(crate) use crl::{CrlRule, CrlRules, RevocationError};
pub(crate) use explain::{CertificateDemand, HandshakeCertificate};
pub(crate) use material::CertificateFiles;
pub use material::CertificateWithKey;
#[cfg(test)]
pub(crate) use names::normalize_server_name;
pub use san::{AltNameKind, AltNameMatcher};
pub(crate) use select::{CertificateSelector, CertificateStore};
pub use server::ServerTls;
pub(crate) use server::selector;
pub use spec::{ClientAuthMode, ClientAuthSpec, Codec, ServerTlsSpec};
pub(crate) use spec::{RouteClientAuth, UpstreamTlsSpec};
pub(crate) use stream::{FailedHandshake, HandshakeError, TlsStream};
pub use tickets::TicketKeys;
pub(crate) use tickets::TicketSecret;
pub(crate) use transport::{ObservedRead, Transport};
pub use trust::{ClientTrust, ClientTrustSpec};
pub(crate) use trust::{TrustDigest, VerifiedChain};
pub(crate) use upstream_verify::UpstreamCertificateError;
pub(crate) use verify::client_verifier;
