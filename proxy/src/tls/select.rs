//! Chooses the server certificate for a client.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use arc_swap::ArcSwap;
use rustls::{
    NamedGroup, SignatureAlgorithm, SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use crate::certificate::ParsedCertificate;

use super::{
    context, context::ConnectionContext, material::CertificateWithKey, names::without_trailing_dot,
};

/// How many names of a certificate a line at `debug` has.
const MOST_NAMES: usize = 8;

/// Chooses a certificate by the server name: an exact match, else a wildcard over its first label,
/// else the first one configured. Among several, the client's signature schemes decide, and in TLS 1.2
/// its curves.
#[derive(Debug, Default)]
pub(crate) struct CertificateSelector {
    exact: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// By the text after `*.`.
    wildcard: HashMap<Box<str>, Vec<Arc<CertifiedKey>>>,
    /// The first one, and others for the same names (e.g. RSA beside ECDSA).
    default: Vec<Arc<CertifiedKey>>,
}

impl CertificateSelector {
    /// `None` without certificates.
    pub(crate) fn new(identities: &[Arc<CertificateWithKey>]) -> Option<CertificateSelector> {
        let first = identities.first()?;
        // ECDSA first: an RSA signature takes some twenty times as long.
        let mut by_cost: Vec<_> = identities.iter().collect();
        by_cost
            .sort_by_key(|identity| identity.certified.key.algorithm() == SignatureAlgorithm::RSA);

        let mut exact: HashMap<_, Vec<_>> = HashMap::new();
        let mut wildcard: HashMap<_, Vec<_>> = HashMap::new();
        for identity in &by_cost {
            for name in &identity.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut wildcard, parent),
                    None => (&mut exact, name.as_str()),
                };
                map.entry(Box::from(name)).or_default().push(Arc::clone(&identity.certified));
            }
        }
        let names: HashSet<&str> = first.names.iter().map(String::as_str).collect();
        let beside_first = |identity: &&&Arc<CertificateWithKey>| {
            Arc::ptr_eq(identity, first)
                || identity.names.iter().any(|name| names.contains(name.as_str()))
        };
        let default = by_cost.iter().filter(beside_first);
        let default = default.map(|identity| Arc::clone(&identity.certified)).collect();
        Some(CertificateSelector { exact, wildcard, default })
    }

    fn select(
        &self,
        server_name: Option<&str>,
        client: &ClientAbilities<'_>,
    ) -> Option<&Arc<CertifiedKey>> {
        let named = || server_name.into_iter().flat_map(|name| self.for_name(name));
        let usable = |key: &&Arc<CertifiedKey>| client.verifies(key);
        // If none is usable, rustls ends the handshake with the right alert.
        named()
            .find(usable)
            .or_else(|| named().next())
            .or_else(|| self.default.iter().find(usable))
            .or_else(|| self.default.first())
    }

    fn for_name(&self, name: &str) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let exact = self.exact.get(name);
        let wildcard = parent.and_then(|parent| self.wildcard.get(parent));
        exact.into_iter().chain(wildcard).flatten()
    }
}

/// What a client can verify.
struct ClientAbilities<'a> {
    schemes: &'a [SignatureScheme],
    /// Its curves, where they restrict certificates: TLS 1.3 names the curve in the signature scheme.
    curves: Option<&'a [NamedGroup]>,
}

impl ClientAbilities<'_> {
    fn verifies(&self, key: &CertifiedKey) -> bool {
        key.key.choose_scheme(self.schemes).is_some() && self.has_curve_of(key)
    }

    /// RFC 8422 section 5.3: the key of a certificate must be on a curve of the client's.
    fn has_curve_of(&self, key: &CertifiedKey) -> bool {
        let Some(curves) = self.curves else { return true };
        curve(key).is_none_or(|curve| curves.contains(&curve))
    }
}

/// The curve of an ECDSA key. rustls's keys sign by one scheme, which belongs to their curve.
fn curve(key: &CertifiedKey) -> Option<NamedGroup> {
    let curves = [
        (SignatureScheme::ECDSA_NISTP256_SHA256, NamedGroup::secp256r1),
        (SignatureScheme::ECDSA_NISTP384_SHA384, NamedGroup::secp384r1),
    ];
    let signs_by = |scheme| key.key.choose_scheme(&[scheme]).is_some();
    curves.into_iter().find(|(scheme, _)| signs_by(*scheme)).map(|(_, curve)| curve)
}

/// The server certificates in use. All TLS configurations of the process share it, including
/// earlier ones that connections still hold: a renewed certificate replaces the old one without a
/// new TLS configuration, and no connection keeps replaced certificates.
#[derive(Debug)]
pub(crate) struct CertificateStore(ArcSwap<CertificateSelector>);

impl CertificateStore {
    /// Empty until [`CertificateStore::replace`].
    pub(crate) fn new() -> CertificateStore {
        CertificateStore(ArcSwap::from_pointee(CertificateSelector::default()))
    }

    /// Replaces the certificates for new handshakes. Returns the old ones, so that the caller can
    /// free them off the workers.
    pub(crate) fn replace(&self, next: Arc<CertificateSelector>) -> Arc<CertificateSelector> {
        self.0.swap(next)
    }
}

impl ResolvesServerCert for CertificateStore {
    /// Also called when a session is resumed. The configuration was chosen by our own reading of
    /// the ClientHello: if rustls reads another name there, the policy is ambiguous.
    fn resolve(&self, client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let server_name = client_hello.server_name().map(without_trailing_dot);
        let (agreed, is_tls12) =
            context::current(|context| (context.server_name() == server_name, context.is_tls12()))?;
        if !agreed {
            return None;
        }
        let curves = is_tls12.then(|| client_hello.named_groups().unwrap_or_default());
        let client = ClientAbilities { schemes: client_hello.signature_schemes(), curves };
        let selected = self.0.load().select(server_name, &client).cloned();
        if selected.as_ref().is_some_and(|key| !client.has_curve_of(key)) {
            context::current(ConnectionContext::set_no_certificate_fits);
            return None;
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            log_choice(server_name, selected.as_deref());
        }
        selected
    }
}

#[cold]
fn log_choice(server_name: Option<&str>, selected: Option<&CertifiedKey>) {
    let leaf = selected.and_then(|key| key.cert.first());
    let parsed = leaf.and_then(|leaf| ParsedCertificate::from_der(leaf).ok());
    let names = parsed.iter().flat_map(|leaf| leaf.alt_names().into_iter().flatten());
    let names: Vec<String> = names.take(MOST_NAMES).map(|name| name.to_string()).collect();
    tracing::debug!(
        "tls-server-name" = server_name,
        names = names.join(", "),
        subject = parsed.as_ref().map(ParsedCertificate::subject),
        "server certificate chosen"
    );
}

#[cfg(test)]
mod tests;
