//! Client certificates that are revoked or have no allowed name, and the alerts for them.

use super::{
    client_certificates::{refusal, refused_with},
    *,
};
use crate::tls::{
    crl::{CrlBundle, CrlRule, CrlStore},
    san::{AltNameKind, AltNameMatcher},
    testing::DAY_S,
};

impl Bench {
    pub(super) fn change(&mut self, change: impl FnOnce(&mut ClientTrustSpec)) {
        let mut trust = self.trust.take().unwrap();
        change(&mut trust);
        self.verify_by(trust);
    }

    /// CRLs of a month: `pem` is any number of them.
    fn revoke(&mut self, pem: &str) {
        let store = Arc::new(CrlStore::new(bundle(pem)));
        self.change(|trust| trust.crls = Some(store));
    }

    /// The same, in the configuration in use.
    fn revoke_in_place(&self, pem: &str) {
        let store = self.trust.as_ref().and_then(|trust| trust.crls.clone()).unwrap();
        store.replace(Arc::new(bundle(pem)));
    }
}

fn bundle(pem: &str) -> CrlBundle {
    CrlBundle::from_pem(pem.as_bytes(), "a test").unwrap()
}

#[test]
fn only_a_revoked_certificate_gets_certificate_revoked() {
    let mut bench = Bench::with_client_auth();
    let (revoked, good) = (bench.root.issue(client_leaf()), bench.root.issue(client_leaf()));
    bench.revoke(&bench.root.crl(&[&revoked]));
    let reason = "its issuer has revoked it";
    refused_with(&bench, &revoked, AlertDescription::CertificateRevoked, reason);
    for version in VERSIONS {
        assert_eq!(bench.present(version, &good).kind(), HandshakeKind::Full);
    }
}

#[test]
fn a_leaf_is_checked_by_its_intermediates_crl() {
    let mut bench = Bench::with_client_auth();
    bench.change(|trust| trust.max_verify_depth = 2);
    let intermediate = bench.root.issue(ca("an intermediate"));
    let (revoked, good) = (intermediate.issue(client_leaf()), intermediate.issue(client_leaf()));
    bench.revoke(&intermediate.crl(&[&revoked]));
    let reason = "its issuer has revoked it";
    refused_with(&bench, &revoked, AlertDescription::CertificateRevoked, reason);
    assert_eq!(bench.present(&TLS13, &good).kind(), HandshakeKind::Full);
    // Only the leaf is looked up: the root's list is not applied to the intermediate.
    bench.revoke(&bench.root.crl(&[&intermediate]));
    assert_eq!(bench.present(&TLS13, &good).kind(), HandshakeKind::Full);
}

#[test]
fn without_a_usable_crl_the_rule_decides() {
    let mut bench = Bench::with_client_auth();
    let client = bench.root.issue(client_leaf());
    bench.revoke(&self_signed(ca("another CA")).crl(&[]));
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
    bench.change(|trust| trust.crl_rules.missing = CrlRule::Reject);
    let reason = "there is no CRL of its issuer";
    refused_with(&bench, &client, AlertDescription::UnknownCA, reason);

    bench.revoke(&bench.root.crl(&[]));
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
    bench.clock.set(NOW_S + 31 * DAY_S);
    let reason = "the next CRL of its issuer was due at";
    refused_with(&bench, &client, AlertDescription::UnknownCA, reason);
    bench.change(|trust| trust.crl_rules.stale = CrlRule::Allow);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);

    // A CRL under the CA's name with another signature is always rejected.
    bench.revoke(&root().crl(&[]));
    bench.change(|trust| trust.crl_rules.missing = CrlRule::Allow);
    let reason = "signed by another key than the issuer's";
    refused_with(&bench, &client, AlertDescription::UnknownCA, reason);
}

#[test]
fn a_name_that_is_not_allowed_gets_certificate_unknown() {
    let mut bench = Bench::with_client_auth();
    let client = bench.root.issue(client_leaf());
    let dns = |pattern| AltNameMatcher::new(AltNameKind::Dns, pattern).unwrap();
    bench.change(|trust| trust.alt_names = vec![dns("other[.]example"), dns("client[.]example")]);
    assert_eq!(bench.present(&TLS13, &client).kind(), HandshakeKind::Full);
    bench.change(|trust| trust.alt_names = vec![dns("client"), dns("example")]);
    let (alert, log) = refusal(&bench, &client);
    assert_eq!(alert, AlertDescription::CertificateUnknown);
    assert!(log.contains("no subject alternative name that is allowed"), "{log}");
}

#[test]
fn a_session_resumes_only_under_equal_crls_rules_and_names() {
    type Change = fn(&mut Bench);
    let changes: [(&str, Change); 5] = [
        ("nothing", |_| {}),
        ("another CRL", |bench| bench.revoke(&bench.root.crl(&[]))),
        ("no CRL", |bench| bench.change(|trust| trust.crls = None)),
        ("another rule", |bench| bench.change(|trust| trust.crl_rules.missing = CrlRule::Reject)),
        ("names", |bench| {
            bench.change(|trust| {
                trust.alt_names = vec![AltNameMatcher::new(AltNameKind::Dns, ".*").unwrap()];
            });
        }),
    ];
    for (what, change) in changes {
        for version in VERSIONS {
            let mut bench = Bench::with_client_auth();
            let other = bench.root.issue(client_leaf());
            bench.revoke(&bench.root.crl(&[&other]));
            let client = bench.client(version, Some(bench.root.issue(client_leaf()).identity()));
            assert!(!resumes(&client, &bench.server(), NAME));
            change(&mut bench);
            assert_eq!(resumes(&client, &bench.server(), NAME), what == "nothing", "{what}");
        }
    }
}

#[test]
fn a_crl_that_is_renewed_in_place_holds_for_the_next_handshake_and_ticket() {
    for version in VERSIONS {
        let mut bench = Bench::with_client_auth();
        let (revoked, good) = (bench.root.issue(client_leaf()), bench.root.issue(client_leaf()));
        bench.revoke(&bench.root.crl(&[]));
        let server = bench.server();
        let clients = [&revoked, &good].map(|leaf| bench.client(version, Some(leaf.identity())));
        for client in &clients {
            assert!(!resumes(client, &server, NAME));
            assert!(resumes(client, &server, NAME));
        }
        bench.revoke_in_place(&bench.root.crl(&[&revoked]));
        let alert = handshake(&clients[0], &server, NAME).alert_to_client();
        assert_eq!(alert, AlertDescription::CertificateRevoked);
        assert!(!resumes(&clients[1], &server, NAME), "a ticket of the former CRL");
        assert!(resumes(&clients[1], &server, NAME));
    }
}

#[test]
fn a_session_ends_when_the_crl_that_verified_it_goes_stale() {
    for (rule, resumed) in [(CrlRule::Reject, false), (CrlRule::Allow, true)] {
        let mut bench = Bench::with_client_auth();
        bench.change(|trust| trust.crl_rules.stale = rule);
        // Due in an hour, long before the session's own limits.
        bench.revoke(&bench.root.crl_until(&[], NOW_S + 3600));
        let server = bench.server();
        let client = bench.client(&TLS13, Some(bench.root.issue(client_leaf()).identity()));
        assert!(!resumes(&client, &server, NAME));
        bench.clock.set(NOW_S + 3599);
        assert!(resumes(&client, &server, NAME));
        bench.clock.set(NOW_S + 3601);
        let outcome = handshake(&client, &server, NAME);
        assert_eq!(outcome.server_error.is_none(), resumed);
        if resumed {
            assert_eq!(outcome.kind(), HandshakeKind::Resumed);
        } else {
            assert_eq!(outcome.alert_to_client(), AlertDescription::UnknownCA);
        }
    }
}
