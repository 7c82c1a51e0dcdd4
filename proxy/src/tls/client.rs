//! Stand-in for the TLS room's upstream side, so that `upstream` compiles alone.

use std::sync::Arc;

use rustls::{ClientConfig, pki_types::ServerName};

use super::UpstreamTlsSpec;

/// TLS towards one upstream.
#[derive(Debug, Clone)]
pub struct UpstreamTls {
    /// With a session store of its own.
    pub config: Arc<ClientConfig>,
    /// Sent as SNI and verified.
    pub server_name: ServerName<'static>,
}

impl UpstreamTls {
    /// Builds what rustls needs.
    pub fn new(_spec: &UpstreamTlsSpec) -> Result<UpstreamTls, rustls::Error> {
        unimplemented!()
    }
}

impl UpstreamTlsSpec {
    /// Digest of everything that tells one TLS identity from another.
    pub fn key(&self) -> [u8; 32] {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        context.update(self.sni.as_bytes());
        context.update(&[0, u8::from(self.offer_h2), u8::from(self.skip_verify)]);
        context.update(self.verify_name.as_bytes());
        context.update(&self.anchors.digest);
        context.update(&self.identity.as_ref().map_or([0; 32], |identity| identity.digest));
        let mut key = [0; 32];
        key.copy_from_slice(context.finish().as_ref());
        key
    }
}
