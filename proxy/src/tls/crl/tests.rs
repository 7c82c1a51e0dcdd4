//! CRLs and certificates as OpenSSL makes them (`testdata/crl/make.sh`).

use super::*;
use crate::tls::testing::der_of;

macro_rules! testdata {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/tls/testdata/crl/", $name, ".pem"))
    };
}

mod lookup;
mod oracle;
mod parsing;

const CA: &str = testdata!("ca.crt");
const NAMESAKE: &str = testdata!("namesake.crt");
/// Of another issuer's name.
const OTHER: &str = include_str!("../testdata/p256.crt.pem");
const V1: &str = testdata!("v1.crl");
const V2: &str = testdata!("v2.crl");
const EMPTY: &str = testdata!("empty.crl");

fn bundle(pem: &str) -> CrlBundle {
    CrlBundle::from_pem(pem.as_bytes(), "a test").unwrap()
}

fn store(pem: &str) -> Arc<CrlStore> {
    Arc::new(CrlStore::new(bundle(pem)))
}

fn anchors(pem: &str) -> TrustAnchors {
    TrustAnchors::from_pem(pem.as_bytes(), "a test").unwrap()
}

#[test]
fn the_fuzz_corpus_is_read_as_webpki_reads_it() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/crl");
    let files = std::fs::read_dir(corpus).unwrap();
    let read = files
        .filter(|file| oracle::compare(&std::fs::read(file.as_ref().unwrap().path()).unwrap()));
    assert!(read.count() >= 8);
}
