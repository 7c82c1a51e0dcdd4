use super::*;
use crate::tls::testing::{leaf, root, self_signed};

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name)).as_slice()
    };
}

fn identity(certificate: &[u8], key: &[u8]) -> Result<CertificateWithKey, MaterialError> {
    CertificateWithKey::from_pem(certificate, key, "a.pem with a.key")
}

fn message(result: Result<CertificateWithKey, MaterialError>) -> String {
    result.expect_err("it should have been refused").to_string()
}

#[test]
fn keys_are_read_in_every_form_that_openssl_writes() {
    for (certificate, key) in [
        (fixture!("rsa2048.crt.pem"), fixture!("rsa2048.pkcs1.pem")),
        (fixture!("rsa2048.crt.pem"), fixture!("rsa2048.pkcs8.pem")),
        (fixture!("p256.crt.pem"), fixture!("p256.sec1.pem")),
        (fixture!("p256.crt.pem"), fixture!("p256.pkcs8.pem")),
        (fixture!("ed25519.crt.pem"), fixture!("ed25519.pkcs8.pem")),
    ] {
        let identity = identity(certificate, key).unwrap();
        assert_eq!(identity.origin, "a.pem with a.key");
        assert!(identity.not_after_s > 4_000_000_000);
    }
}

#[test]
fn a_key_on_p384_is_read() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let identity = root().issue_for(leaf(&["a.example"]), key).identity();
    assert_eq!(identity.names, ["a.example"]);
}

#[test]
fn certificate_and_key_may_stand_in_one_file_in_any_order() {
    let both = [fixture!("p256.sec1.pem"), fixture!("p256.crt.pem")].concat();
    assert!(identity(&both, &both).is_ok());
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    let marked = [b"\xef\xbb\xbf", fixture!("p256.crt.pem")].concat();
    assert!(identity(&marked, fixture!("p256.sec1.pem")).is_ok());
}

#[test]
fn a_foreign_key_is_refused() {
    let message = message(identity(fixture!("rsa2048.crt.pem"), fixture!("p256.sec1.pem")));
    assert_eq!(message, "a.pem with a.key: the private key does not belong to the certificate");
}

#[test]
fn a_chain_in_the_wrong_order_is_refused_with_the_position() {
    let root = root();
    let leaf = root.issue(leaf(&["a.example"]));
    let chain = [crate::tls::testing::pem(&root.der), leaf.chain_pem].concat();
    let message = message(identity(chain.as_bytes(), leaf.key.serialize_pem().as_bytes()));
    assert!(message.contains("belongs to certificate 2 of the chain"), "{message}");
}

#[test]
fn unsupported_keys_are_named() {
    let p521 = message(identity(fixture!("p521.crt.pem"), fixture!("p521.sec1.pem")));
    assert!(p521.contains("a key on P-521 is not supported"), "{p521}");
    let rsa1024 = message(identity(fixture!("rsa1024.crt.pem"), fixture!("rsa1024.pkcs1.pem")));
    assert!(rsa1024.contains("an RSA key of 1024 bits is not supported"), "{rsa1024}");
}

#[test]
fn a_certificate_of_version_1_is_refused_with_the_way_out() {
    let message = message(identity(fixture!("v1.crt.pem"), fixture!("p256.sec1.pem")));
    assert!(message.contains("X.509 version 1"), "{message}");
    assert!(message.contains("-extfile"), "{message}");
}

#[test]
fn an_encrypted_key_is_refused_as_such() {
    let message = message(identity(fixture!("p256.crt.pem"), fixture!("p256.encrypted.pem")));
    assert!(message.contains("without a passphrase"), "{message}");
}

#[test]
fn missing_parts_are_refused() {
    let key = fixture!("p256.sec1.pem");
    let certificate = fixture!("p256.crt.pem");
    assert!(message(identity(b"", key)).contains("no certificate found"));
    assert!(message(identity(key, key)).contains("no certificate found"));
    assert!(message(identity(certificate, certificate)).contains("no private key found"));
    let der = certificates_from_pem(certificate, "a test").unwrap().remove(0);
    assert!(message(identity(&der, key)).contains("looks like DER"));
}

#[test]
fn a_file_cut_off_is_refused_and_its_content_not_shown() {
    let key = fixture!("p256.sec1.pem");
    let cut = message(identity(fixture!("p256.crt.pem"), &key[..key.len() - 40]));
    assert!(cut.contains("damaged PEM: a section has no end line"), "{cut}");

    let one_line: Vec<u8> = key.iter().copied().filter(|byte| *byte != b'\n').collect();
    let start = one_line.windows(10).position(|w| w == b"BEGIN EC P").unwrap() - 5;
    let one_line = message(identity(fixture!("p256.crt.pem"), &one_line[start..]));
    assert_eq!(one_line, "a.pem with a.key: damaged PEM: a section has no end line (cut off?)");
}

#[test]
fn a_certificate_that_cannot_be_parsed_is_refused() {
    let garbage = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let message = message(identity(garbage, fixture!("p256.sec1.pem")));
    assert!(message.contains("certificate 1 cannot be parsed"), "{message}");
}

#[test]
fn names_are_lower_case_dns_names_or_the_common_name() {
    let names = |params| self_signed(params).identity().names.clone();
    assert_eq!(
        names(leaf(&["A.example", "*.b.EXAMPLE", "192.0.2.1"])),
        ["a.example", "*.b.example"]
    );
    let mut params = leaf(&[]);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(rcgen::DnType::CommonName, "Old.example");
    assert_eq!(names(params), ["old.example"]);
}

#[test]
fn the_digest_tells_chains_apart() {
    let (first, second) = (self_signed(leaf(&["a.example"])), self_signed(leaf(&["a.example"])));
    assert_eq!(first.identity().digest, first.identity().digest);
    assert_ne!(first.identity().digest, second.identity().digest);
}

#[test]
fn fields_of_a_digest_do_not_run_into_each_other() {
    let digest = |fields: &[&[u8]]| {
        let mut digest = Digest::default();
        fields.iter().for_each(|field| digest.field(field));
        digest.finish()
    };
    assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    assert_ne!(digest(&[b""]), digest(&[]));
}

proptest::proptest! {
    #[test]
    fn no_file_makes_it_panic(certificate: Vec<u8>, key: Vec<u8>) {
        let _ = identity(&certificate, &key);
    }

    #[test]
    fn no_message_shows_what_a_key_file_holds(cut in 0_usize..302, garbage: u8) {
        let mut key = fixture!("p256.sec1.pem").to_vec();
        key[cut % 302] = garbage;
        if let Err(error) = identity(fixture!("p256.crt.pem"), &key) {
            let secret = String::from_utf8_lossy(fixture!("p256.sec1.pem"));
            let (shown, debug) = (error.to_string(), format!("{:?}", error));
            for line in secret.lines().filter(|line| line.len() > 20 && !line.starts_with('-')) {
                proptest::prop_assert!(!shown.contains(&line[..20]));
                proptest::prop_assert!(!debug.contains(&line[..20]));
            }
        }
    }
}
