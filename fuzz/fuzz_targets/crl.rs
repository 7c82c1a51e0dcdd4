//! CRLs: none makes the reader panic, and none has fewer entries than webpki finds in it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::tls::CrlBundle;

#[path = "../../proxy/src/tls/crl/tests/oracle.rs"]
mod oracle;

fuzz_target!(|bytes: &[u8]| {
    oracle::compare(bytes);
    let _ = CrlBundle::from_pem(bytes, "a bundle");
});
