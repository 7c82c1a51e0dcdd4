//! Client certificates that are accepted, and the alerts for those that are rejected.

use std::sync::Mutex;

use rcgen::{ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose};
use rustls::{SignatureScheme, client::ResolvesClientCert, sign::CertifiedKey};

use super::*;
use crate::tls::testing::{Outcome, pem, self_signed_with};

impl Bench {
    /// The outcome of a handshake with this client certificate.
    pub(super) fn present(
        &self,
        version: &'static SupportedProtocolVersion,
        client: &Issued,
    ) -> Outcome {
        handshake(&self.client(version, Some(client.identity())), &self.server(), NAME)
    }
}

#[test]
fn a_valid_client_certificate_bounds_its_session() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let client = bench.root.issue(client_leaf());
        let outcome = bench.present(version, &client);
        assert_eq!(outcome.kind(), HandshakeKind::Full);
        let session = outcome.context.session().unwrap();
        assert_eq!(session.authenticated_at_s, NOW_S);
        let validity = session.client_validity.unwrap();
        assert_eq!(validity.not_before_s, client.params.not_before.unix_timestamp());
        assert_eq!(validity.not_after_s, client.params.not_after.unix_timestamp());
        assert!(outcome.context.client_rejection().is_none());
    }
}

/// The alert for the client, and our log's reason.
pub(super) fn refusal(bench: &Bench, client: &Issued) -> (AlertDescription, String) {
    let [first, second] = VERSIONS.map(|version| {
        let outcome = bench.present(version, client);
        let rejection = outcome.context.client_rejection().unwrap();
        (outcome.alert_to_client(), rejection.reason.clone())
    });
    assert_eq!(first, second, "TLS 1.2 and 1.3 differ");
    first
}

pub(super) fn refused_with(bench: &Bench, client: &Issued, alert: AlertDescription, reason: &str) {
    let (got, log) = refusal(bench, client);
    assert_eq!(got, alert, "{log}");
    assert!(log.contains(reason), "{log}");
}

#[test]
fn a_client_without_a_certificate_gets_certificate_required() {
    for version in VERSIONS {
        let bench = Bench::with_client_auth();
        let outcome = handshake(&bench.client(version, None), &bench.server(), NAME);
        assert_eq!(outcome.alert_to_client(), AlertDescription::CertificateRequired);
        assert_eq!(outcome.server_error, Some(Error::NoCertificatesPresented));
    }
}

#[test]
fn an_untrusted_client_certificate_gets_unknown_ca() {
    let bench = Bench::with_client_auth();
    let other = self_signed(ca("another root"));
    let reason = "no trusted CA issued it";
    refused_with(&bench, &other.issue(client_leaf()), AlertDescription::UnknownCA, reason);
    refused_with(&bench, &self_signed(client_leaf()), AlertDescription::UnknownCA, reason);
    refused_with(&bench, &other, AlertDescription::UnknownCA, reason);
    // A new CA with the name of the old one.
    refused_with(
        &bench,
        &root().issue(client_leaf()),
        AlertDescription::UnknownCA,
        "its signature does not match",
    );
}

#[test]
fn a_chain_too_deep_gets_unknown_ca_and_the_log_says_how_deep() {
    let mut bench = Bench::with_client_auth();
    let intermediate = bench.root.issue(ca("an intermediate"));
    let client = intermediate.issue(client_leaf());
    let reason = "its chain has 2 certificates below the trusted one; at most 1 are allowed";
    refused_with(&bench, &client, AlertDescription::UnknownCA, reason);
    for enough in [2, 0] {
        bench.demand(bench.root.anchors(), enough);
        assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
    }
    // An intermediate can be an anchor like a root.
    bench.demand(intermediate.anchors(), 1);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_path_short_enough_is_found_beside_one_too_deep() {
    let mut bench = Bench::with_client_auth();
    let intermediate = bench.root.issue(ca("an intermediate"));
    let both = TrustAnchors::union(&[&bench.root.anchors(), &intermediate.anchors()]);
    bench.demand(Arc::new(both), 1);
    let client = intermediate.issue(client_leaf());
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_certificate_outside_its_dates_gets_certificate_expired() {
    let bench = Bench::with_client_auth();
    let mut params = client_leaf();
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = bench.root.issue(params);
    refused_with(&bench, &expired, AlertDescription::CertificateExpired, "expired at");
    let mut params = client_leaf();
    params.not_before = rcgen::date_time_ymd(2030, 1, 2);
    let too_young = bench.root.issue(params);
    refused_with(&bench, &too_young, AlertDescription::CertificateExpired, "is valid from");
}

#[test]
fn an_expired_anchor_gets_certificate_expired_unless_renewed() {
    let mut params = ca("client root");
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = self_signed(params.clone());
    let client = expired.issue(client_leaf());
    let mut bench = Bench::new();
    bench.demand(expired.anchors(), 1);
    refused_with(&bench, &client, AlertDescription::CertificateExpired, "expired at");

    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let renewed = params.self_signed(&expired.key).unwrap();
    let both = [pem(&expired.der), pem(renewed.der())].concat();
    bench.demand(Arc::new(TrustAnchors::from_pem(both.as_bytes(), "a test").unwrap()), 1);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_renewed_anchors_longer_validity_bounds_the_session() {
    let mut params = ca("client root");
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    let ending = self_signed(params.clone());
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let renewed = params.self_signed(&ending.key).unwrap();
    let client = ending.issue(client_leaf());
    for both in [[pem(&ending.der), pem(renewed.der())], [pem(renewed.der()), pem(&ending.der)]] {
        let mut bench = Bench::new();
        let anchors = TrustAnchors::from_pem(both.concat().as_bytes(), "a test").unwrap();
        bench.demand(Arc::new(anchors), 1);
        let outcome = bench.present(&TLS13, &client);
        outcome.kind();
        let validity = outcome.context.session().unwrap().client_validity.unwrap();
        assert_eq!(validity.not_after_s, params.not_after.unix_timestamp());
    }
}

#[test]
fn an_expired_anchor_does_not_hide_a_path_to_one_that_holds() {
    let client_root = self_signed(ca("client root"));
    let mut params = ca("an intermediate");
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = client_root.issue(params.clone());
    // Renewed under its old key: the client sends the new one, and the expired one is an anchor.
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    let key = KeyPair::from_pem(&expired.key.serialize_pem()).unwrap();
    let client = client_root.issue_for(params, key).issue(client_leaf());
    let mut bench = Bench::new();
    let anchors = TrustAnchors::union(&[&expired.anchors(), &client_root.anchors()]);
    bench.demand(Arc::new(anchors), 2);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn an_anchor_of_version_1_issues_like_any_other() {
    let pkcs8 = include_str!("../../testdata/p256.pkcs8.pem");
    let mut params = ca("");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "v1.example");
    let version_3 = self_signed_with(params, KeyPair::from_pem(pkcs8).unwrap());
    let mut client = version_3.issue(client_leaf());
    client.chain_pem = pem(&client.der);
    let version_1 = include_bytes!("../../testdata/v1.crt.pem");
    let mut bench = Bench::new();
    bench.demand(Arc::new(TrustAnchors::from_pem(version_1, "a test").unwrap()), 1);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
}

#[test]
fn a_certificate_for_servers_gets_unsupported_certificate() {
    let bench = Bench::with_client_auth();
    let mut params = client_leaf();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let server = bench.root.issue(params.clone());
    refused_with(&bench, &server, AlertDescription::UnsupportedCertificate, "key usage");
    params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    assert_eq!(bench.present(&TLS13, &bench.root.issue(params)).kind(), HandshakeKind::Full);
    // Without the extension a certificate is valid for every purpose.
    assert_eq!(
        bench.present(&TLS13, &bench.root.issue(leaf(&["c.example"]))).kind(),
        HandshakeKind::Full
    );
}

#[test]
fn what_is_no_certificate_gets_bad_certificate() {
    let bench = Bench::with_client_auth();
    let identity = bench.root.issue(client_leaf()).identity();
    let mut certified = CertifiedKey::clone(&identity.certified);
    certified.cert = vec![vec![0x30, 0x03, 0x02, 0x01, 0x00].into()];
    let garbage = Arc::new(CertificateWithKey {
        certified: Arc::new(certified),
        origin: String::new(),
        digest: [0; 32],
        files: None,
        names: Vec::new(),
        not_after_s: 0,
    });
    for version in VERSIONS {
        let client = bench.client(version, Some(Arc::clone(&garbage)));
        let outcome = handshake(&client, &bench.server(), NAME);
        assert_eq!(outcome.alert_to_client(), AlertDescription::BadCertificate);
        assert!(outcome.context.client_rejection().unwrap().reason.contains("cannot be parsed"));
    }
}

#[test]
fn a_self_signed_client_certificate_can_be_an_anchor() {
    // As `openssl req -x509` makes it.
    let mut params = leaf(&["c.example"]);
    params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let client = self_signed(params.clone());
    let mut bench = Bench::new();
    bench.demand(client.anchors(), 1);
    for version in VERSIONS {
        let outcome = bench.present(version, &client);
        assert_eq!(outcome.kind(), HandshakeKind::Full);
        assert!(outcome.context.session().unwrap().client_validity.is_some());
    }
    // The same name and key are not the same certificate.
    params.serial_number = Some(77.into());
    let twin = Issued {
        der: params.self_signed(&client.key).unwrap().der().clone(),
        chain_pem: params.self_signed(&client.key).unwrap().pem(),
        key: KeyPair::from_pem(&client.key.serialize_pem()).unwrap(),
        params,
    };
    assert_eq!(refusal(&bench, &twin).0, AlertDescription::UnknownCA);
}

#[test]
fn a_client_that_is_an_anchor_itself_cannot_make_others() {
    let trusted = self_signed(client_leaf());
    let mut bench = Bench::new();
    bench.demand(trusted.anchors(), 0);
    assert_eq!(bench.present(&TLS13, &trusted).kind(), HandshakeKind::Full);
    let mut made = trusted.issue(client_leaf());
    made.chain_pem = pem(&made.der);
    let reason = "no trusted CA issued it";
    refused_with(&bench, &made, AlertDescription::UnknownCA, reason);
}

#[test]
fn an_expired_anchor_does_not_lift_its_renewals_constraints() {
    let mut params = ca("client root");
    params.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = self_signed(params.clone());
    params.not_after = rcgen::date_time_ymd(2035, 1, 1);
    params.name_constraints = Some(rcgen::NameConstraints {
        permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("other.example".to_owned())],
        excluded_subtrees: Vec::new(),
    });
    let constrained = params.self_signed(&expired.key).unwrap();
    let both = [pem(&expired.der), pem(constrained.der())].concat();
    let mut bench = Bench::new();
    bench.demand(Arc::new(TrustAnchors::from_pem(both.as_bytes(), "a test").unwrap()), 1);
    let outcome = bench.present(&TLS13, &expired.issue(client_leaf()));
    assert!(outcome.client_error.is_some());
}

#[test]
fn an_anchor_as_a_leaf_is_checked_for_dates_and_usages() {
    let mut expired = leaf(&["c.example"]);
    expired.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let mut server_only = leaf(&["c.example"]);
    server_only.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let mut for_issuing = ca("a root");
    for_issuing.key_usages = vec![KeyUsagePurpose::KeyCertSign];

    for (params, alert) in [
        (expired, AlertDescription::CertificateExpired),
        (server_only, AlertDescription::UnsupportedCertificate),
        (for_issuing, AlertDescription::UnsupportedCertificate),
    ] {
        let client = self_signed(params);
        let mut bench = Bench::new();
        bench.demand(client.anchors(), 1);
        assert_eq!(refusal(&bench, &client).0, alert);
    }
}

#[test]
fn clients_are_told_which_issuers_are_trusted() {
    let bench = Bench::with_client_auth();
    let subject = crate::certificate::parse(&bench.root.der).unwrap().subject().as_raw().to_vec();
    for version in VERSIONS {
        let told = Arc::new(HintRecorder::default());
        let mut client = bench.client_with(provider(), version, None);
        client.client_auth_cert_resolver = Arc::<HintRecorder>::clone(&told);
        handshake(&Arc::new(client), &bench.server(), NAME);
        assert_eq!(told.0.lock().unwrap().as_slice(), std::slice::from_ref(&subject));
    }
}

/// A client without a certificate that records which ones were asked for.
#[derive(Debug, Default)]
struct HintRecorder(Mutex<Vec<Vec<u8>>>);

impl ResolvesClientCert for HintRecorder {
    fn resolve(&self, hints: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        *self.0.lock().unwrap() = hints.iter().map(|hint| hint.to_vec()).collect();
        None
    }

    fn has_certs(&self) -> bool {
        true
    }
}
