use std::sync::Arc;

use proptest::prelude::*;
use rcgen::{
    CertificateParams, CidrSubnet, CustomExtension, DistinguishedName, DnType, DnValue,
    GeneralSubtree, NameConstraints as Rules, SanType,
};
use rustls::pki_types::CertificateDer;

use super::{matching::*, *};
use crate::tls::{
    anchors::TrustAnchors,
    chain::{ChainError, ChainVerifier, Purpose},
    testing::{Issued, NOW_S, at, ca, client_leaf, pem, self_signed},
};

fn dns(base: &str) -> GeneralSubtree {
    GeneralSubtree::DnsName(base.to_owned())
}

fn email(base: &str) -> GeneralSubtree {
    GeneralSubtree::Rfc822Name(base.to_owned())
}

fn directory(names: &[(DnType, &str)]) -> GeneralSubtree {
    GeneralSubtree::DirectoryName(distinguished(names))
}

fn distinguished(names: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    names.iter().for_each(|(kind, value)| name.push(kind.clone(), *value));
    name
}

fn constrained(
    name: &str,
    permitted: Vec<GeneralSubtree>,
    excluded: Vec<GeneralSubtree>,
) -> CertificateParams {
    let mut params = ca(name);
    let rules = Rules { permitted_subtrees: permitted, excluded_subtrees: excluded };
    params.name_constraints = Some(rules);
    params
}

fn named(names: Vec<SanType>) -> CertificateParams {
    let mut params = client_leaf();
    params.subject_alt_names = names;
    params
}

fn san_dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn san_email(name: &str) -> SanType {
    SanType::Rfc822Name(name.try_into().unwrap())
}

fn san_uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

fn verify(
    root: &Issued,
    leaf: &CertificateDer<'_>,
    sent: &[CertificateDer<'_>],
) -> Result<(), ChainError> {
    let verifier = ChainVerifier::new(root.anchors(), Purpose::ClientAuth, 0);
    verifier.verify(leaf, sent, at(NOW_S)).map(|_| ()).map_err(|refusal| refusal.error)
}

/// Whether a leaf is good whose CA has these constraints, as an anchor and as an intermediate, which
/// must be the same.
fn is_good(
    permitted: Vec<GeneralSubtree>,
    excluded: Vec<GeneralSubtree>,
    leaf: CertificateParams,
) -> bool {
    let root = self_signed(constrained("constrained", permitted.clone(), excluded.clone()));
    let by_anchor = verify(&root, &root.issue(leaf.clone()).der, &[]);
    let root = self_signed(ca("root"));
    let middle = root.issue(constrained("constrained", permitted, excluded));
    let by_intermediate = verify(&root, &middle.issue(leaf).der, std::slice::from_ref(&middle.der));
    assert_eq!(by_anchor.is_ok(), by_intermediate.is_ok(), "{by_anchor:?} {by_intermediate:?}");
    for error in [&by_anchor, &by_intermediate].into_iter().filter_map(|it| it.as_ref().err()) {
        assert!(matches!(error, ChainError::NameConstraints(_)), "{error:?}");
    }
    by_anchor.is_ok()
}

#[test]
fn each_kind_of_name_is_permitted_and_excluded() {
    let o = |value| directory(&[(DnType::OrganizationName, value)]);
    let of_o = |value| {
        let mut params = named(vec![]);
        params.distinguished_name =
            distinguished(&[(DnType::OrganizationName, value), (DnType::CommonName, "x")]);
        params
    };
    let net = || GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, 0], 24));
    let address = |text: &str| named(vec![SanType::IpAddress(text.parse().unwrap())]);
    let cases = [
        (dns("a.example"), named(vec![san_dns("x.a.example")]), named(vec![san_dns("b.example")])),
        (
            email("a.example"),
            named(vec![san_email("u@A.example")]),
            named(vec![san_email("u@b.example")]),
        ),
        (
            email(".a.example"),
            named(vec![san_email("u@x.a.example")]),
            named(vec![san_email("u@a.example")]),
        ),
        (
            email("u@a.example"),
            named(vec![san_email("u@a.example")]),
            named(vec![san_email("v@a.example")]),
        ),
        (net(), address("192.0.2.7"), address("192.0.3.7")),
        (o("Good, Inc."), of_o("good,  INC."), of_o("Evil")),
    ];
    for (subtree, inside, outside) in cases {
        assert!(is_good(vec![subtree.clone()], vec![], inside.clone()), "{inside:?}");
        assert!(!is_good(vec![subtree.clone()], vec![], outside.clone()), "{outside:?}");
        assert!(!is_good(vec![], vec![subtree.clone()], inside.clone()), "{inside:?}");
        assert!(is_good(vec![], vec![subtree.clone()], outside.clone()), "{outside:?}");
    }
}

#[test]
fn a_kind_that_is_not_constrained_is_free() {
    let other_kind = named(vec![san_email("u@b.example"), san_uri("spiffe://b.example/u")]);
    assert!(is_good(vec![dns("a.example")], vec![dns("b.example")], other_kind));
}

#[test]
fn one_name_outside_among_many_inside_is_enough() {
    let names = vec![san_dns("x.a.example"), san_dns("y.a.example"), san_dns("evil.example")];
    assert!(!is_good(vec![dns("a.example")], vec![], named(names.clone())));
    assert!(is_good(vec![dns("a.example"), dns("evil.example")], vec![], named(names.clone())));
    assert!(!is_good(vec![], vec![dns("evil.example")], named(names)));
}

#[test]
fn names_in_a_subject_count() {
    let of = |kind: DnType, value: &str, names| {
        let mut params = named(names);
        params.distinguished_name = distinguished(&[(kind, value)]);
        params
    };
    let address = || DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    assert!(is_good(vec![email("a.example")], vec![], of(address(), "u@a.example", vec![])));
    assert!(!is_good(vec![email("a.example")], vec![], of(address(), "u@b.example", vec![])));
    let common_name = |value, names| of(DnType::CommonName, value, names);
    assert!(!is_good(vec![dns("a.example")], vec![], common_name("b.example", vec![])));
    assert!(is_good(vec![dns("a.example")], vec![], common_name("x.a.example", vec![])));
    assert!(is_good(vec![dns("a.example")], vec![], common_name("Ann Example", vec![])));
    let beside = vec![san_dns("x.a.example")];
    assert!(is_good(vec![dns("a.example")], vec![], common_name("b.example", beside)));
}

#[test]
fn a_common_name_counts_in_every_type_of_text() {
    let of = |value: DnValue| {
        let mut params = named(vec![]);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, value);
        is_good(vec![dns("a.example")], vec![], params)
    };
    for (name, expected) in [("x.a.example", true), ("b.example", false)] {
        assert_eq!(of(DnValue::BmpString(name.try_into().unwrap())), expected);
        assert_eq!(of(DnValue::UniversalString(name.try_into().unwrap())), expected);
        assert_eq!(of(DnValue::TeletexString(name.try_into().unwrap())), expected);
        assert_eq!(of(DnValue::Utf8String(format!("{name}\0"))), expected);
    }
}

#[test]
fn an_email_that_cannot_be_read_counts_where_emails_do() {
    let mut params = named(vec![]);
    let address = DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]);
    let unreadable = DnValue::BmpString("u@a.example".try_into().unwrap());
    params.distinguished_name.push(address, unreadable);
    assert!(is_good(vec![dns("client.example")], vec![], params.clone()));
    assert!(!is_good(vec![email("a.example")], vec![], params.clone()));
    assert!(!is_good(vec![], vec![email("b.example")], params));
}

fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    [&[tag, contents.len() as u8], contents].concat()
}

/// rcgen makes no constraints of URIs.
fn with_uri_constraint(name: &str, base: &str) -> CertificateParams {
    let subtree = element(0x30, &element(0x86, base.as_bytes()));
    with_constraints(name, element(0x30, &element(0xa0, &subtree)))
}

fn with_constraints(name: &str, content: Vec<u8>) -> CertificateParams {
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
    extension.set_criticality(true);
    let mut params = ca(name);
    params.custom_extensions = vec![extension];
    params
}

#[test]
fn a_list_that_cannot_be_read_permits_nothing() {
    let subtree = |base: &[u8]| element(0x30, &element(0x82, base));
    let permitted = element(0xa0, &subtree(b"a.test"));
    let excluded = element(0xa1, &subtree(b"b.test"));
    let root = self_signed(ca("root"));
    let result = |content: Vec<u8>| {
        let params = with_constraints("constrained", element(0x30, &content));
        let middle = root.issue(params.clone());
        let leaf = middle.issue(named(vec![san_dns("evil.test")]));
        let result = verify(&root, &leaf.der, std::slice::from_ref(&middle.der));
        let anchor = TrustAnchors::from_pem(pem(&self_signed(params).der).as_bytes(), "a test");
        (result.is_ok(), anchor.is_ok())
    };
    assert_eq!(result(excluded.clone()), (true, true));
    assert_eq!(result([permitted.clone(), excluded.clone()].concat()), (false, true));
    for content in [
        element(0xa0, &[subtree(b"a.test"), element(0x30, b"")].concat()),
        element(0xa0, b""),
        [excluded.clone(), permitted.clone()].concat(),
        [permitted, element(0x30, b"")].concat(),
        element(0x80, &subtree(b"a.test")),
    ] {
        assert_eq!(result(content.clone()), (false, false), "{content:02x?}");
    }
}

#[test]
fn the_host_of_a_uri_is_constrained() {
    let anchor = self_signed(with_uri_constraint("anchor", "a.example"));
    let root = self_signed(ca("root"));
    let middle = root.issue(with_uri_constraint("middle", "a.example"));
    for (uri, is_good) in [
        ("spiffe://a.example/user", true),
        ("https://user@A.example:8443/x", true),
        ("https://a.example@evil.example/", false),
        ("https://x.a.example/", false),
        ("urn:a.example", false),
        ("https://192.0.2.1/", false),
    ] {
        let leaf = |issuer: &Issued| issuer.issue(named(vec![san_uri(uri)]));
        assert_eq!(verify(&anchor, &leaf(&anchor).der, &[]).is_ok(), is_good, "{uri}");
        let sent = [middle.der.clone()];
        assert_eq!(verify(&root, &leaf(&middle).der, &sent).is_ok(), is_good, "{uri}");
    }
}

#[test]
fn an_intermediate_is_constrained_by_those_above_it() {
    let root = self_signed(constrained(
        "root",
        vec![directory(&[(DnType::OrganizationName, "Good")])],
        vec![],
    ));
    let middle = |organization: &str| {
        let mut params = ca("middle");
        params.distinguished_name =
            distinguished(&[(DnType::OrganizationName, organization), (DnType::CommonName, "ca")]);
        let middle = root.issue(params);
        let mut leaf = named(vec![]);
        leaf.distinguished_name =
            distinguished(&[(DnType::OrganizationName, "Good"), (DnType::CommonName, "leaf")]);
        verify(&root, &middle.issue(leaf).der, std::slice::from_ref(&middle.der))
    };
    assert!(middle("Good").is_ok());
    assert!(matches!(middle("Evil"), Err(ChainError::NameConstraints(_))));
}

/// The names of a path are decided here only if all else is good: webpki must say so first.
#[test]
fn a_permitted_name_excuses_no_other_fault() {
    let rules = || vec![directory(&[(DnType::CommonName, "test leaf")])];
    let root = self_signed(ca("root"));
    let sent = |middle: &Issued| [middle.der.clone()];
    let middle = root.issue(constrained("middle", rules(), vec![]));
    assert!(verify(&root, &middle.issue(client_leaf()).der, &sent(&middle)).is_ok());

    let forger = self_signed(constrained("middle", rules(), vec![]));
    assert!(verify(&root, &forger.issue(client_leaf()).der, &sent(&middle)).is_err());
    assert!(verify(&root, &forger.issue(client_leaf()).der, &sent(&forger)).is_err());
    let mut expired = client_leaf();
    expired.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let expired = verify(&root, &middle.issue(expired).der, &sent(&middle));
    assert!(matches!(expired, Err(ChainError::Expired { .. })), "{expired:?}");
    let mut server = client_leaf();
    server.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let server = verify(&root, &middle.issue(server).der, &sent(&middle));
    assert!(matches!(server, Err(ChainError::Purpose)), "{server:?}");
    let mut authority = ca("test leaf");
    authority.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    assert!(verify(&root, &middle.issue(authority).der, &sent(&middle)).is_err());

    let mut old = constrained("middle", rules(), vec![]);
    old.not_after = rcgen::date_time_ymd(2029, 12, 31);
    let old = root.issue(old);
    assert!(verify(&root, &old.issue(client_leaf()).der, &sent(&old)).is_err());
    let mut no_ca = constrained("middle", rules(), vec![]);
    no_ca.is_ca = rcgen::IsCa::ExplicitNoCa;
    let no_ca = root.issue(no_ca);
    assert!(verify(&root, &no_ca.issue(client_leaf()).der, &sent(&no_ca)).is_err());
    let mut shallow = ca("shallow");
    shallow.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let shallow = root.issue(shallow);
    let below = shallow.issue(constrained("middle", rules(), vec![]));
    let both = [below.der.clone(), shallow.der.clone()];
    assert!(verify(&root, &below.issue(client_leaf()).der, &both).is_err());
}

#[test]
fn anchors_of_one_name_have_constraints_of_their_own() {
    let rules = |name| vec![directory(&[(DnType::CommonName, name)])];
    let other = self_signed(constrained("ca", rules("nobody"), vec![]));
    let root = self_signed(constrained("ca", rules("test leaf"), vec![]));
    let anchors = TrustAnchors::union(&[&other.anchors(), &root.anchors()]);
    let verifier = ChainVerifier::new(Arc::new(anchors), Purpose::ClientAuth, 1);
    let verify = |leaf: Issued| verifier.verify(&leaf.der, &[], at(NOW_S));
    assert!(verify(root.issue(client_leaf())).is_ok());
    assert!(verify(other.issue(client_leaf())).is_err());
}

#[test]
fn the_number_of_comparisons_is_bounded() {
    let many = |count: usize| (0..count).map(|number| san_dns(&format!("h{number}.a.example")));
    let bases: Vec<_> = (0..60).map(|number| dns(&format!("b{number}.example"))).collect();
    let root = self_signed(constrained("root", vec![], bases));
    let few = root.issue(named(many(60).collect()));
    assert!(verify(&root, &few.der, &[]).is_ok());
    let leaf = root.issue(named(many(80).collect()));
    let error = verify(&root, &leaf.der, &[]).unwrap_err();
    assert!(matches!(error, ChainError::NameConstraints(NameConstraintError::TooMany)));
}

#[test]
fn a_long_name_is_cut_in_the_log() {
    let root = self_signed(constrained("root", vec![email("a.example")], vec![]));
    let long = format!("{}@b.example", "u".repeat(3000));
    let leaf = root.issue(named(vec![san_email(&long)]));
    let text = verify(&root, &leaf.der, &[]).unwrap_err().to_string();
    assert!(text.contains("email:uuu") && text.len() < 200, "{text}");
}

#[test]
fn a_wildcard_that_may_stand_for_an_excluded_name_is_excluded() {
    let is_match = |subtrees, base, name| {
        matches(subtrees, &GeneralName::DNSName(base), &GeneralName::DNSName(name)).unwrap()
    };
    assert!(is_match(Subtrees::Excluded, "a.b.example", "*.b.example"));
    assert!(!is_match(Subtrees::Excluded, "a.b.example", "*.c.example"));
    assert!(!is_match(Subtrees::Permitted, "a.b.example", "*.b.example"));
    assert!(is_match(Subtrees::Permitted, "b.example", "*.b.example"));
    assert!(is_match(Subtrees::Permitted, "", "anything"));
    assert!(!is_match(Subtrees::Permitted, "a.example", "xa.example"));
    assert!(!is_match(Subtrees::Permitted, ".a.example", "a.example"));
}

#[test]
fn a_dot_at_the_end_of_a_host_does_not_matter() {
    for subtrees in [Subtrees::Permitted, Subtrees::Excluded] {
        let email = |base, name| {
            matches(subtrees, &GeneralName::RFC822Name(base), &GeneralName::RFC822Name(name))
        };
        let uri = |base, name| matches(subtrees, &GeneralName::URI(base), &GeneralName::URI(name));
        for (base, name) in [
            ("a.example", "u@a.example."),
            ("a.example.", "u@a.example"),
            (".example", "u@a.example."),
            ("u@a.example", "u@a.example."),
            ("u@a.example.", "u@a.example"),
        ] {
            assert_eq!(email(base, name), Some(true), "{base} {name}");
        }
        for (base, name) in
            [("a.example.", "https://a.example/"), ("a.example", "https://a.example./")]
        {
            assert_eq!(uri(base, name), Some(true), "{base} {name}");
        }
    }
}

proptest! {
    /// webpki processes constraints of DNS names and addresses in intermediates.
    #[test]
    fn dns_names_and_addresses_are_judged_as_by_webpki(
        base in "(a|b|ab)(\\.(a|b))?",
        name in "((a|b|ab)\\.)?(a|b|ab)\\.(a|b)",
        octet in 0_u8..4,
        prefix in 22_u8..=32,
        is_excluded: bool,
    ) {
        let subtrees = vec![
            dns(&base),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([192, 0, 2, octet], prefix)),
        ];
        let (permitted, excluded) =
            if is_excluded { (vec![], subtrees) } else { (subtrees, vec![]) };
        let params = constrained("root", permitted, excluded);
        let address = SanType::IpAddress([192, 0, 2, 1].into());
        let root = self_signed(params);
        let mut leaf = named(vec![san_dns(&name), address]);
        leaf.distinguished_name = DistinguishedName::new();
        let leaf = root.issue(leaf);
        let end_entity = webpki::EndEntityCert::try_from(&leaf.der).unwrap();
        let anchors = root.anchors();
        let by_webpki = end_entity.verify_for_usage(
            crate::tls::provider::provider().signature_verification_algorithms.all,
            // With constraints, unlike `issuers`.
            &anchors.roots.roots,
            &[],
            at(NOW_S),
            webpki::KeyUsage::client_auth(),
            None,
            None,
        );
        prop_assert_eq!(verify(&root, &leaf.der, &[]).is_ok(), by_webpki.is_ok());
    }

    #[test]
    fn no_names_make_it_panic(base: String, name: String, base_ip: Vec<u8>, ip: Vec<u8>) {
        for subtrees in [Subtrees::Permitted, Subtrees::Excluded] {
            let pairs = [
                (GeneralName::DNSName(&base), GeneralName::DNSName(&name)),
                (GeneralName::RFC822Name(&base), GeneralName::RFC822Name(&name)),
                (GeneralName::URI(&base), GeneralName::URI(&name)),
                (GeneralName::IPAddress(&base_ip), GeneralName::IPAddress(&ip)),
            ];
            for (base, name) in pairs {
                let _ = matches(subtrees, &base, &name);
            }
            let _ = looks_like_dns_name(&name);
        }
    }
}
