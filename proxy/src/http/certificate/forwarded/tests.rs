use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls_pki_types::UnixTime;

use super::*;
use crate::{
    http::{PeerCertificate, testing::Made},
    tls::{ClientTrustSpec, TrustAnchors},
};

const LEAF: CertificateHeaders = CertificateHeaders { rfc9440: Rfc9440::Leaf, xfcc: NOTHING };
const CHAIN: CertificateHeaders = CertificateHeaders { rfc9440: Rfc9440::Chain, xfcc: NOTHING };
const NOTHING: XfccFields =
    XfccFields { hash: false, cert: false, chain: false, subject: false, uri: false, dns: false };
const EVERYTHING: XfccFields =
    XfccFields { hash: true, cert: true, chain: true, subject: true, uri: true, dns: true };

fn xfcc(fields: XfccFields) -> CertificateHeaders {
    CertificateHeaders { rfc9440: Rfc9440::None, xfcc: fields }
}

fn pairs(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect()
}

/// Root, middle, leaf, and the middle's namesake by another root.
struct Pki {
    ders: [CertificateDer<'static>; 4],
    root_pem: String,
    middle_pem: String,
}

fn pki() -> Pki {
    let ca = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let key = || KeyPair::generate().unwrap();
    let root = CertifiedIssuer::self_signed(ca("root"), key()).unwrap();
    let other = CertifiedIssuer::self_signed(ca("other"), key()).unwrap();
    let middle = CertifiedIssuer::signed_by(ca("middle"), key(), &root).unwrap();
    let namesake = CertifiedIssuer::signed_by(ca("middle"), key(), &other).unwrap();
    let leaf = CertificateParams::default().signed_by(&key(), &middle).unwrap();
    Pki {
        ders: [root.der(), middle.der(), leaf.der(), namesake.der()].map(Clone::clone),
        root_pem: root.pem(),
        middle_pem: middle.pem(),
    }
}

fn trust(pem: &str) -> ClientTrust {
    let anchors = TrustAnchors::from_pem(pem.as_bytes(), "a test").unwrap();
    ClientTrust::new(&ClientTrustSpec::new(Arc::new(anchors), 0))
}

fn headers(of: &PeerCertificate, wanted: CertificateHeaders, trust: &ClientTrust) -> Headers {
    let judged = of.verify(trust, UnixTime::now()).unwrap();
    of.headers(wanted, trust, &judged)
}

#[test]
fn only_the_verified_chain_is_forwarded() {
    let Pki { ders: [root, middle, leaf, namesake], root_pem, middle_pem } = pki();
    let sent = [leaf.clone(), namesake, root.clone(), middle.clone()];
    let certificate = PeerCertificate::presented(&sent, None).unwrap();
    let [root, middle, leaf] = [root, middle, leaf].map(|der| byte_sequence(&der));
    let by_root = trust(&root_pem);
    let chain = format!("{middle}, {root}");
    let expected = [("client-cert", leaf.as_str()), ("client-cert-chain", &chain)];
    // Also from the cached verification.
    for _ in 0..2 {
        assert_eq!(pairs(&headers(&certificate, CHAIN, &by_root)), expected);
        let again = PeerCertificate::presented(&sent, Some("again.example")).unwrap();
        assert_eq!(pairs(&headers(&again, CHAIN, &by_root)), expected);
    }
    let by_middle = trust(&middle_pem);
    let expected = [("client-cert", leaf.as_str()), ("client-cert-chain", &middle)];
    assert_eq!(pairs(&headers(&certificate, CHAIN, &by_middle)), expected);
    assert_eq!(pairs(&headers(&certificate, LEAF, &by_middle)), expected[..1]);
}

#[test]
fn a_certificate_that_is_trusted_itself_has_no_chain() {
    let made = Made::alice();
    let sequence = byte_sequence(&made.der);
    let headers = headers(&made.certificate, CHAIN, &made.trust);
    assert_eq!(pairs(&headers), [("client-cert", sequence.as_str())]);
}

#[test]
fn a_byte_sequence_is_base64_between_colons() {
    assert_eq!(byte_sequence(&[0xfb, 0xff, 0xfe, 0]), ":+//+AA==:");
}

#[test]
fn xfcc_holds_the_configured_fields_in_envoys_order() {
    let made = Made::alice();
    let subject = "Subject=\"CN=J\\C3\\BCrgen \\22J\\22,O=Doe\\, Inc.\"";
    let value = |fields| {
        let headers = headers(&made.certificate, xfcc(fields), &made.trust);
        let [("x-forwarded-client-cert", value)] = pairs(&headers)[..] else { panic!() };
        value.to_owned()
    };
    let all = value(EVERYTHING);
    let keys: Vec<&str> = all.split(';').map(|pair| pair.split_once('=').unwrap().0).collect();
    assert_eq!(keys, ["Hash", "Cert", "Chain", "Subject", "URI", "DNS"]);
    assert!(all.ends_with(&format!("{subject};URI=spiffe://example/a;DNS=a.example")), "{all}");
    let hash = made.certificate.text(crate::http::CertificateField::Fingerprint);
    assert_eq!(value(XfccFields { hash: true, ..NOTHING }), format!("Hash={hash}"));
    let cert = value(XfccFields { cert: true, ..NOTHING });
    let chain = value(XfccFields { chain: true, ..NOTHING });
    assert_eq!(cert.strip_prefix("Cert"), chain.strip_prefix("Chain"), "its own CA");
}

#[test]
fn a_chain_in_envoys_form_begins_with_the_leaf() {
    let Pki { ders: [_, middle, leaf, _], middle_pem, .. } = pki();
    let certificate = PeerCertificate::presented(std::slice::from_ref(&leaf), None).unwrap();
    let wanted = xfcc(XfccFields { chain: true, ..NOTHING });
    let headers = headers(&certificate, wanted, &trust(&middle_pem));
    let encoded = pairs(&headers)[0].1.to_owned();
    let pem = encoded.replace("%0A", "\n").replace("%20", " ").replace("%2B", "+");
    let pem = pem.replace("%2F", "/").replace("%3D", "=");
    let pem = pem.strip_prefix("Chain=\"").unwrap().strip_suffix('"').unwrap();
    use rustls_pki_types::pem::PemObject;
    let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).map(Result::unwrap).collect();
    assert_eq!(ders, [leaf, middle]);
}

#[test]
fn empty_fields_are_written_as_by_envoy_or_omitted() {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let made = Made::of(params);
    let of = |fields| headers(&made.certificate, xfcc(fields), &made.trust);
    let named = of(XfccFields { subject: true, uri: true, dns: true, ..NOTHING });
    assert_eq!(pairs(&named), [("x-forwarded-client-cert", "Subject=\"\";URI=")]);
    assert_eq!(pairs(&of(XfccFields { dns: true, ..NOTHING })), []);
}

#[test]
fn headers_are_made_once_for_each_judgement_and_few_are_kept() {
    let made = Made::alice();
    let first = headers(&made.certificate, CHAIN, &made.trust);
    assert!(Rc::ptr_eq(&first, &headers(&made.certificate, CHAIN, &made.trust)));
    assert!(!Rc::ptr_eq(&first, &headers(&made.certificate, LEAF, &made.trust)));
    for number in 0..64_u8 {
        let bit = |bit: u8| number & (1 << bit) != 0;
        let fields = XfccFields {
            hash: bit(0),
            cert: bit(1),
            chain: bit(2),
            subject: bit(3),
            uri: bit(4),
            dns: bit(5),
        };
        headers(&made.certificate, xfcc(fields), &made.trust);
    }
    assert_eq!(made.certificate.headers.0.borrow().len(), MAX_SETS);
}
