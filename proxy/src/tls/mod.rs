//! TLS: certificates, verification, tickets, and the stream over which the rest speaks HTTP.

mod client;
mod material;
mod spec;
mod stream;
mod transport;

pub use client::{UpstreamTls, UpstreamTlsError};
pub use material::{Identity, TrustAnchors};
pub use spec::{ClientAuthSpec, Codec, ServerTlsSpec, UpstreamTlsSpec};
pub use stream::{HandshakeError, TlsStream};
pub use transport::Transport;
