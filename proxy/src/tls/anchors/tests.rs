use std::path::PathBuf;

use rcgen::{BasicConstraints, IsCa, KeyUsagePurpose};

use super::*;
use crate::tls::testing::{ca, pem, root, self_signed};

const VERSION_1: &[u8] = include_bytes!("../testdata/v1.crt.pem");
const KEY: &[u8] = include_bytes!("../testdata/p256.sec1.pem");

/// A directory of its own, removed at the end.
struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Directory {
        Directory(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

#[test]
fn a_bundle_is_read_whole_and_each_certificate_once() {
    let (first, second) = (self_signed(ca("first")), self_signed(ca("second")));
    let bundle = [pem(&first.der), pem(&second.der), pem(&first.der)].concat();
    let anchors = TrustAnchors::from_pem(bundle.as_bytes(), "ca.pem").unwrap();
    assert_eq!(anchors.certificates, [first.der, second.der]);
    assert_eq!(anchors.roots.len(), 2);
    assert_eq!(anchors.origin, "ca.pem");
}

#[test]
fn a_bundle_without_certificates_is_refused() {
    for pem in [b"".as_slice(), b"no PEM at all", KEY] {
        let error = TrustAnchors::from_pem(pem, "ca.pem").unwrap_err();
        assert_eq!(error.to_string(), "ca.pem: no certificate found");
    }
}

#[test]
fn a_bad_certificate_in_a_bundle_is_an_error_with_its_position() {
    let bad = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    let bundle = [pem(&root().der).as_str(), bad].concat();
    let error = TrustAnchors::from_pem(bundle.as_bytes(), "ca.pem").unwrap_err();
    assert!(error.to_string().starts_with("ca.pem: certificate 2 cannot be parsed"), "{error}");
}

#[test]
fn an_anchor_of_version_1_is_taken() {
    assert_eq!(TrustAnchors::from_pem(VERSION_1, "ca.pem").unwrap().roots.len(), 1);
}

#[test]
fn who_may_issue_is_said_by_constraints_usage_or_age() {
    let may_issue = |is_ca, key_usages: &[KeyUsagePurpose]| {
        let mut params = ca("an anchor");
        params.is_ca = is_ca;
        params.key_usages = key_usages.to_vec();
        self_signed(params).anchors().details[0].may_issue
    };
    let unconstrained = || IsCa::Ca(BasicConstraints::Unconstrained);
    assert!(may_issue(unconstrained(), &[]));
    assert!(may_issue(unconstrained(), &[KeyUsagePurpose::KeyCertSign]));
    assert!(!may_issue(unconstrained(), &[KeyUsagePurpose::DigitalSignature]));
    assert!(!may_issue(IsCa::ExplicitNoCa, &[]));
    assert!(!may_issue(IsCa::ExplicitNoCa, &[KeyUsagePurpose::KeyCertSign]));
    assert!(!may_issue(IsCa::NoCa, &[]));
    assert!(may_issue(IsCa::NoCa, &[KeyUsagePurpose::KeyCertSign]));
    assert!(TrustAnchors::from_pem(VERSION_1, "ca.pem").unwrap().details[0].may_issue);
}

#[test]
fn a_union_has_each_certificate_once_and_its_own_digest() {
    let (first, second) = (self_signed(ca("first")), self_signed(ca("second")));
    let both = TrustAnchors::union(&[&first.anchors(), &second.anchors(), &first.anchors()]);
    assert_eq!(both.certificates, [first.der.clone(), second.der]);
    assert_eq!(both.details.len(), 2);
    assert_ne!(both.digest, first.anchors().digest);
    assert_eq!(TrustAnchors::union(&[&first.anchors()]).digest, first.anchors().digest);
}

#[test]
fn the_first_bundle_that_exists_is_the_systems() {
    let directory = Directory::new();
    let root = root();
    let missing = directory.0.path().join("missing.pem");
    let present = directory.write("present.pem", pem(&root.der));
    let later = directory.write("later.pem", pem(&self_signed(ca("other")).der));
    let anchors = system_from(&[&missing, &present, &later], None, None).unwrap();
    assert_eq!(anchors.certificates, [root.der]);
    assert_eq!(anchors.origin, present.display().to_string());
}

#[test]
fn a_system_without_roots_is_an_error_that_names_the_places() {
    let directory = Directory::new();
    let missing = directory.0.path().join("missing.pem");
    let error = system_from(&[&missing], None, None).unwrap_err();
    assert!(error.to_string().contains(missing.to_str().unwrap()), "{error}");
    let empty = directory.write("empty.pem", "");
    assert!(matches!(system_from(&[&empty], None, None), Err(MaterialError::NoSystemRoots { .. })));
}

#[test]
fn an_unusable_root_of_the_system_is_passed_over() {
    let directory = Directory::new();
    let bad = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    let bundle = directory.write("bundle.pem", [bad, &pem(&root().der)].concat());
    assert_eq!(system_from(&[&bundle], None, None).unwrap().certificates.len(), 1);
}

#[test]
fn the_environment_takes_the_place_of_the_systems_bundle() {
    let directory = Directory::new();
    let (system, file, in_directory) =
        (self_signed(ca("system")), self_signed(ca("file")), self_signed(ca("directory")));
    let bundle = directory.write("bundle.pem", pem(&system.der));
    let named = directory.write("named.pem", pem(&file.der));
    let hashed = Directory::new();
    hashed.write("0123abcd.0", pem(&in_directory.der));
    hashed.write("README", "not a certificate");

    let of = |file: Option<&Path>, directory: Option<&Path>| {
        let (file, directory) = (file.map(Path::as_os_str), directory.map(Path::as_os_str));
        system_from(&[&bundle], file, directory).unwrap().certificates
    };
    let both = [file.der, in_directory.der];
    assert_eq!(of(Some(&named), None), both[..1]);
    assert_eq!(of(None, Some(hashed.0.path())), both[1..]);
    assert_eq!(of(Some(&named), Some(hashed.0.path())), both);
}

#[test]
fn a_file_that_the_environment_names_must_be_there() {
    let directory = Directory::new();
    let bundle = directory.write("bundle.pem", pem(&root().der));
    let missing = directory.0.path().join("missing.pem");
    let error = system_from(&[&bundle], Some(missing.as_os_str()), None).unwrap_err();
    assert!(matches!(error, MaterialError::Read { .. }), "{error}");
}
