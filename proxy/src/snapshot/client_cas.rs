//! What status and metrics show of the CAs that issue clients' certificates.

use std::collections::BTreeSet;

use crate::{
    certificate::ParsedCertificate,
    config::Config,
    observe::{CertificateUsage, ConfiguredCertificate},
    tls::ClientAuthMode,
};

/// The CAs of clients, each once.
pub(super) fn facts(config: &Config) -> Vec<ConfiguredCertificate> {
    let Some(tls) = &config.tls else { return Vec::new() };
    let of_all = match &tls.client_auth.mode {
        ClientAuthMode::Require(trust) => Some(trust),
        ClientAuthMode::Request { .. } => None,
    };
    let trusts = tls.client_auth.routes.iter().filter_map(|route| route.trust.as_ref());
    let (mut seen, mut cas) = (BTreeSet::new(), Vec::new());
    for anchors in trusts.chain(of_all).map(|trust| trust.anchors()) {
        if seen.insert(anchors.digest) {
            cas.extend(
                anchors.certificates.iter().filter_map(|der| ca_facts(der, &anchors.origin)),
            );
        }
    }
    cas
}

/// `None` if it cannot be read: then it is no anchor either.
fn ca_facts(der: &[u8], origin: &str) -> Option<ConfiguredCertificate> {
    let certificate = ParsedCertificate::from_der(der).ok()?;
    Some(ConfiguredCertificate {
        names: vec![certificate.subject()],
        origin: origin.to_owned(),
        usage: CertificateUsage::ClientCa,
        not_after_s: certificate.validity().not_after.timestamp(),
    })
}
