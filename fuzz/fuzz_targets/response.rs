//! An upstream's responses in HTTP/1: none has content that it may not have.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::probes::probe_response;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = probe_response(bytes) {
        panic!("{problem}");
    }
});
