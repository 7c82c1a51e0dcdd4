//! Certificates of clients: none makes a reader panic, and the CA's signature decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::tls::{
    AltNameKind, AltNameMatcher, ClientTrust, ClientTrustSpec, CrlBundle, TrustAnchors, describe,
};

#[path = "../../proxy/src/tls/oracle.rs"]
mod oracle;

const GOOD: &[u8] = include_bytes!("../corpus/certificate/good");

fuzz_target!(|bytes: &[u8]| {
    assert!(!oracle::judge(bytes) || bytes == GOOD);
});
