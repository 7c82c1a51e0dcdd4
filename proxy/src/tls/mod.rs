//! TLS: certificates, verification, tickets, and the stream over which the rest speaks HTTP.

mod anchors;
mod chain;
mod client;
mod client_auth;
mod context;
mod crl;
mod der;
mod engine;
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

pub use anchors::TrustAnchors;
pub use chain::ChainError;
pub use client::{UpstreamTls, UpstreamTlsError};
pub use client_auth::ClientAuth;
pub use context::{ConnectionContext, Rejection, with_context};
pub use crl::{CrlBundle, CrlBundleError, CrlFacts, CrlRule, CrlRules, CrlStore, RevocationError};
pub use material::{CertificateFiles, CertificateWithKey, MaterialError};
pub use names::{CertificateFacts, MalformedCertificate, describe, normalize_server_name};
pub use san::{AltNameKind, AltNameMatcher};
pub(crate) use select::{CertificateSelector, CertificateStore};
pub use server::ServerTls;
pub(crate) use server::selector;
pub use session::Session;
pub use spec::{
    ClientAuthMode, ClientAuthSpec, Codec, RouteClientAuth, ServerTlsSpec, UpstreamTlsSpec,
};
pub use stream::{FailedHandshake, HandshakeError, TlsStream};
pub use tickets::{RandomError, TicketKeys, TicketSecret, TicketSecretError};
pub use transport::Transport;
pub use trust::{ClientTrust, ClientTrustSpec, CurrentTrust, TrustDigest, VerifiedChain};
pub use upstream_verify::{UpstreamCertificateError, UpstreamCertificateReason};
pub use validity::Validity;
