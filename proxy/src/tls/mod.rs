//! TLS: certificates, verification, tickets, and the stream over which the rest speaks HTTP.

mod material;
mod spec;
mod stream;
mod transport;

pub use material::{Identity, MaterialError, TrustAnchors};
pub use spec::{ClientAuthSpec, Codec, ServerTlsSpec, UpstreamTlsSpec};
pub use stream::{HandshakeError, TlsStream};
pub use transport::Transport;
