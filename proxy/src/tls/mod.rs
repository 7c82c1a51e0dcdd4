//! TLS: certificates, verification, tickets, and the stream over which the rest speaks HTTP.

mod engine;
mod material;
mod spec;
mod stream;
mod transport;

pub use material::{Identity, TrustAnchors};
pub use spec::{ClientAuthSpec, Codec, ServerTlsSpec, UpstreamTlsSpec};
pub use stream::{FailedHandshake, HandshakeError, TlsStream};
pub use transport::Transport;
