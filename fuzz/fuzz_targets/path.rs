//! Paths: each normal form is normal, and has nothing that the settings take out.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::probes::probe_path;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = probe_path(bytes) {
        panic!("{problem}");
    }
});
