//! Who may read from a listener: TLS, client certificates, a password.

use std::{io, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;
use ring::{hmac, rand::SystemRandom};
use rustls::{
    ServerConfig, crypto::ring::default_provider, server::NoServerSessionStorage,
    sign::SingleCertAndKey,
};

use super::{
    MetricsListenerSpec, Secret,
    host::{ANY, AllowedHosts},
};
use crate::tls::{CertificateWithKey, TrustAnchors, client_verifier};

/// Who may read from a listener.
#[derive(Debug)]
pub(super) struct Access {
    /// `None` is plain text.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// `None` asks for no password.
    pub(super) password: Option<BasicAuth>,
    /// The hosts that requests may name.
    pub(super) hosts: AllowedHosts,
}

impl Access {
    /// For every client that can connect, and requests that name the address or one of these hosts.
    pub(super) fn open(hosts: &[String]) -> Access {
        Access { tls: None, password: None, hosts: AllowedHosts::new(hosts) }
    }

    /// As the spec asks.
    pub(super) fn new(spec: &MetricsListenerSpec) -> io::Result<Access> {
        let tls = match (&spec.identity, &spec.client_anchors) {
            (Some(identity), anchors) => Some(server_config(identity, anchors.as_ref())?),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(invalid("a client CA requires a server certificate"));
            }
        };
        let password = spec.basic_auth.as_ref().map(BasicAuth::new).transpose()?;
        // Scrapers know it by any name; it serves metrics alone, and may ask for a password.
        Ok(Access { tls, password, hosts: AllowedHosts::new(&[ANY.to_owned()]) })
    }
}

fn server_config(
    identity: &CertificateWithKey,
    anchors: Option<&Arc<TrustAnchors>>,
) -> io::Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    let builder = match anchors {
        Some(anchors) => builder.with_client_cert_verifier(client_verifier(Arc::clone(anchors))),
        None => builder.with_no_client_auth(),
    };
    let resolver = SingleCertAndKey::from(identity.certified.clone());
    let mut config = builder.with_cert_resolver(Arc::new(resolver));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // A session must not outlive a change of the client CA, and scrapes are few.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

fn invalid(reason: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason.to_string())
}

/// HTTP Basic authentication (RFC 7617).
#[derive(Debug)]
pub(super) struct BasicAuth {
    /// Random, for each configuration another.
    key: hmac::Key,
    /// The tag of `user:password`.
    tag: hmac::Tag,
}

impl BasicAuth {
    fn new(credentials: &Secret) -> io::Result<BasicAuth> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())
            .map_err(|_| io::Error::other("the system's random generator failed"))?;
        let tag = hmac::sign(&key, credentials.0.as_bytes());
        Ok(BasicAuth { key, tag })
    }

    /// Whether an Authorization header carries the credentials. The comparison is of tags and takes
    /// constant time, so it reveals neither the content nor the length.
    pub(super) fn accepts(&self, authorization: Option<&HeaderValue>) -> bool {
        let presented = authorization.and_then(credentials);
        presented.is_some_and(|bytes| hmac::verify(&self.key, &bytes, self.tag.as_ref()).is_ok())
    }
}

fn credentials(authorization: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, encoded) = authorization.to_str().ok()?.split_once(' ')?;
    let basic = scheme.eq_ignore_ascii_case("basic");
    basic.then(|| STANDARD.decode(encoded.trim()).ok())?
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CertifiedKey, KeyPair, KeyUsagePurpose};
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    fn self_signed(usages: &[KeyUsagePurpose]) -> CertifiedKey<KeyPair> {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.key_usages = usages.to_vec();
        let signing_key = KeyPair::generate().unwrap();
        CertifiedKey { cert: params.self_signed(&signing_key).unwrap(), signing_key }
    }

    /// Whether a listener that trusts this client serves it.
    fn serves(client: &CertifiedKey<KeyPair>) -> bool {
        let own = self_signed(&[]);
        let (pem, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let identity =
            CertificateWithKey::from_pem(pem.as_bytes(), key.as_bytes(), "a test").unwrap();
        let anchors = TrustAnchors::from_pem(client.cert.pem().as_bytes(), "a test").unwrap();
        let server = server_config(&identity, Some(&Arc::new(anchors))).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(own.cert.der().clone()).unwrap();
        let key = client.signing_key.serialize_der().try_into().unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![client.cert.der().clone()], key)
            .unwrap();
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut server = ServerConnection::new(server).unwrap();
        while client.wants_write() || server.wants_write() {
            let mut bytes = Vec::new();
            client.write_tls(&mut bytes).unwrap();
            server.read_tls(&mut bytes.as_slice()).unwrap();
            if server.process_new_packets().is_err() {
                return false;
            }
            bytes.clear();
            server.write_tls(&mut bytes).unwrap();
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets().unwrap();
        }
        !server.is_handshaking()
    }

    #[test]
    fn a_client_is_verified_as_those_of_the_proxy_are() {
        assert!(serves(&self_signed(&[])));
        assert!(serves(&self_signed(&[KeyUsagePurpose::DigitalSignature])));
        assert!(!serves(&self_signed(&[KeyUsagePurpose::KeyEncipherment])));
    }

    #[test]
    fn only_the_right_credentials_are_accepted() {
        let auth = BasicAuth::new(&Secret("prom:s3:cret".into())).unwrap();
        let accepts = |header: &'static str| auth.accepts(Some(&HeaderValue::from_static(header)));
        assert!(accepts("Basic cHJvbTpzMzpjcmV0"));
        assert!(accepts("basic  cHJvbTpzMzpjcmV0"));
        assert!(!accepts("Basic cHJvbTpzMzpjcmV"), "cut off");
        assert!(!accepts("Basic cHJvbTpzMzpjcmU="), "another password");
        assert!(!accepts("Basic "));
        assert!(!accepts("Bearer cHJvbTpzMzpjcmV0"));
        assert!(!accepts("cHJvbTpzMzpjcmV0"));
        assert!(!auth.accepts(None));
    }

    #[test]
    fn a_client_ca_without_a_certificate_is_refused() {
        let anchors = TrustAnchors::union(&[]);
        let spec = MetricsListenerSpec {
            address: ([127, 0, 0, 1], 0).into(),
            basic_auth: None,
            identity: None,
            client_anchors: Some(Arc::new(anchors)),
        };
        assert_eq!(Access::new(&spec).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
