//! Stand-in for the TLS room's upstream side, so that `upstream` compiles alone.

use std::sync::Arc;

use rustls::{ClientConfig, pki_types::ServerName};

use super::{TrustAnchors, UpstreamTlsSpec};

/// TLS towards one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// With a session store of its own.
    pub config: Arc<ClientConfig>,
    /// Sent as SNI and verified.
    pub server_name: ServerName<'static>,
}

/// An upstream's TLS that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// rustls refuses it.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

impl UpstreamTls {
    /// Builds what rustls needs.
    pub fn new(_spec: &UpstreamTlsSpec) -> Result<UpstreamTls, UpstreamTlsError> {
        unimplemented!()
    }

    /// Identifies all that a connection with this TLS may be reused for.
    pub fn key(spec: &UpstreamTlsSpec) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(spec.sni.as_bytes());
        context.update(&[0, u8::from(spec.offer_h2), u8::from(spec.skip_verify)]);
        context.update(spec.verify_name.as_bytes());
        context.update(&spec.anchors.digest);
        context.update(&spec.identity.as_ref().map_or([0; 32], |identity| identity.digest));
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}

impl TrustAnchors {
    /// The anchors of all.
    pub fn union(_parts: &[&TrustAnchors]) -> TrustAnchors {
        TrustAnchors {
            roots: Arc::new(rustls::RootCertStore::empty()),
            certificates: Vec::new(),
            origin: String::new(),
            digest: [0; 32],
        }
    }
}
