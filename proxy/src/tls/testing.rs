//! A small PKI and handshakes in memory, for the tests of this room.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, ConnectionCommon, Error, HandshakeKind,
    ServerConfig, ServerConnection, SideData,
    pki_types::{CertificateDer, ServerName, UnixTime},
    time_provider::TimeProvider,
};

use super::{
    anchors::TrustAnchors,
    context::{ConnectionContext, with_context},
    material::CertificateWithKey,
    names,
};

pub(super) const DAY_S: i64 = 24 * 60 * 60;

/// 1 January 2030, within the validity of every certificate made here.
pub(super) const NOW_S: i64 = 1_893_456_000;

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(super) struct TestClock(AtomicI64);

impl TestClock {
    pub(super) fn new() -> Arc<TestClock> {
        Arc::new(TestClock(AtomicI64::new(NOW_S)))
    }

    pub(super) fn set(&self, now_s: i64) {
        self.0.store(now_s, Ordering::Relaxed);
    }
}

impl TimeProvider for TestClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(at(self.0.load(Ordering::Relaxed)))
    }
}

pub(super) fn at(seconds: i64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds.try_into().unwrap()))
}

/// A certificate with its key, which may issue others.
pub(super) struct Issued {
    pub(super) params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) der: CertificateDer<'static>,
    /// The chain that a peer sends: this certificate and its intermediates.
    pub(super) chain_pem: String,
}

impl Issued {
    pub(super) fn identity(&self) -> Arc<CertificateWithKey> {
        let key = self.key.serialize_pem();
        let identity =
            CertificateWithKey::from_pem(self.chain_pem.as_bytes(), key.as_bytes(), "a test");
        Arc::new(identity.unwrap())
    }

    /// Anchors with only this certificate.
    pub(super) fn anchors(&self) -> Arc<TrustAnchors> {
        Arc::new(TrustAnchors::from_pem(pem(&self.der).as_bytes(), "a test").unwrap())
    }

    /// Its CRL, in PEM, issued a day ago and due in thirty days.
    pub(super) fn crl(&self, revoked: &[&Issued]) -> String {
        self.crl_until(revoked, NOW_S + 30 * DAY_S)
    }

    /// The same with another due date.
    pub(super) fn crl_until(&self, revoked: &[&Issued], next_update_s: i64) -> String {
        // rcgen's dates come from a crate that only rcgen depends on.
        let at = |seconds: i64| {
            let since = Duration::from_secs(seconds.try_into().unwrap());
            rcgen::date_time_ymd(1970, 1, 1) + since
        };
        let entry = |issued: &&Issued| RevokedCertParams {
            serial_number: SerialNumber::from_slice(
                names::parse(&issued.der).unwrap().raw_serial(),
            ),
            revocation_time: at(NOW_S - DAY_S),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: at(NOW_S - DAY_S),
            next_update: at(next_update_s),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        params.signed_by(&issuer).unwrap().pem().unwrap()
    }

    pub(super) fn issue(&self, params: CertificateParams) -> Issued {
        self.issue_for(params, KeyPair::generate().unwrap())
    }

    pub(super) fn issue_for(&self, params: CertificateParams, key: KeyPair) -> Issued {
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let mut chain_pem = certificate.pem();
        if self.params.distinguished_name != root_name() {
            chain_pem.push_str(&self.chain_pem);
        }
        Issued { params, key, der: certificate.der().clone(), chain_pem }
    }
}

/// The first section of a PEM text.
pub(super) fn der_of(pem: &str) -> CertificateDer<'static> {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let body = pem.lines().skip(1).take_while(|line| !line.starts_with("-----"));
    BASE64_STANDARD.decode(body.collect::<String>()).unwrap().into()
}

pub(super) fn pem(der: &CertificateDer<'_>) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn root_name() -> rcgen::DistinguishedName {
    named("test root")
}

fn named(common_name: &str) -> rcgen::DistinguishedName {
    let mut name = rcgen::DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}

pub(super) fn self_signed(params: CertificateParams) -> Issued {
    self_signed_with(params, KeyPair::generate().unwrap())
}

pub(super) fn self_signed_with(params: CertificateParams, key: KeyPair) -> Issued {
    let certificate = params.self_signed(&key).unwrap();
    Issued { params, key, der: certificate.der().clone(), chain_pem: certificate.pem() }
}

/// A root, always under the same name.
pub(super) fn root() -> Issued {
    self_signed(ca("test root"))
}

pub(super) fn ca(common_name: &str) -> CertificateParams {
    let mut params = leaf(&[]);
    params.distinguished_name = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

/// Valid from 2020 to 2040.
pub(super) fn leaf(names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().copied().map(String::from).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = named("test leaf");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2040, 1, 1);
    params
}

pub(super) fn client_leaf() -> CertificateParams {
    let mut params = leaf(&["client.example"]);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// Both ends of a completed or failed handshake.
pub(super) struct Outcome {
    pub(super) client: ClientConnection,
    pub(super) server: ServerConnection,
    pub(super) context: ConnectionContext,
    pub(super) client_error: Option<Error>,
    pub(super) server_error: Option<Error>,
}

impl Outcome {
    /// Full or resumed; panics if either end failed.
    pub(super) fn kind(&self) -> HandshakeKind {
        assert_eq!((&self.client_error, &self.server_error), (&None, &None));
        assert!(!self.client.is_handshaking() && !self.server.is_handshaking());
        assert_eq!(self.client.handshake_kind(), self.server.handshake_kind());
        self.server.handshake_kind().unwrap()
    }

    /// The alert that the client got.
    pub(super) fn alert_to_client(&self) -> AlertDescription {
        alert(self.client_error.as_ref())
    }

    /// The alert that the server got.
    pub(super) fn alert_to_server(&self) -> AlertDescription {
        alert(self.server_error.as_ref())
    }
}

fn alert(error: Option<&Error>) -> AlertDescription {
    match error {
        Some(Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert but {other:?}"),
    }
}

/// A handshake in which the server's context has the name that the client sends.
pub(super) fn handshake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
) -> Outcome {
    handshake_as(client, server, name, ConnectionContext::new(Some(name)))
}

/// A handshake between rustls and rustls, in memory.
pub(super) fn handshake_as(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    name: &str,
    context: ConnectionContext,
) -> Outcome {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut outcome = Outcome {
        client: ClientConnection::new(Arc::clone(client), name).unwrap(),
        server: ServerConnection::new(Arc::clone(server)).unwrap(),
        context,
        client_error: None,
        server_error: None,
    };
    while outcome.client.wants_write() || outcome.server.wants_write() {
        let flight = sent_by(&mut outcome.client);
        let server = &mut outcome.server;
        let error = with_context(&mut outcome.context, || receive(server, &flight));
        outcome.context.stepped(server.handshake_kind());
        outcome.server_error = outcome.server_error.or(error);

        let flight = sent_by(&mut outcome.server);
        let error = receive(&mut outcome.client, &flight);
        outcome.client_error = outcome.client_error.or(error);
    }
    outcome
}

fn sent_by<S: SideData>(connection: &mut ConnectionCommon<S>) -> Vec<u8> {
    let mut bytes = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut bytes).unwrap();
    }
    bytes
}

fn receive<S: SideData>(connection: &mut ConnectionCommon<S>, mut bytes: &[u8]) -> Option<Error> {
    while !bytes.is_empty() {
        connection.read_tls(&mut bytes).unwrap();
        if let Err(error) = connection.process_new_packets() {
            return Some(error);
        }
    }
    None
}
