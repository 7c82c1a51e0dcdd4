//! Sign-in: cookies, sealed parameters and queries. Nothing that nobody sealed opens, no content makes
//! a reader panic, and no answer leads to a foreign host.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::identity::probe_sign_in;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = probe_sign_in(bytes) {
        panic!("{problem}");
    }
});
