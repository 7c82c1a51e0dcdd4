//! Our reader of CRLs beside webpki's. The fuzz target includes this file too.

use std::collections::HashSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use webpki::BorrowedCertRevocationList;

use super::CrlBundle;

/// Reads a CRL in DER; where both readers can, it has as many entries for both. Says whether ours
/// can.
pub(crate) fn compare(der: &[u8]) -> bool {
    let text = BASE64_STANDARD.encode(der);
    let pem = format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n");
    let Ok(bundle) = CrlBundle::from_pem(pem.as_bytes(), "a CRL") else { return false };
    let [crl] = &bundle.facts()[..] else { return true };
    assert!(!crl.issuer.contains(char::is_control), "{:?}", crl.issuer);
    if let Some(theirs) = webpki_serials(der) {
        assert_eq!(crl.revoked, theirs.len());
    }
    true
}

/// `None` where webpki cannot read it all.
fn webpki_serials(der: &[u8]) -> Option<HashSet<Vec<u8>>> {
    let list = BorrowedCertRevocationList::from_der(der).ok()?;
    (&list)
        .into_iter()
        .map(|entry| {
            let serial = entry.ok()?.serial_number;
            Some(serial.iter().copied().skip_while(|byte| *byte == 0).collect())
        })
        .collect()
}
