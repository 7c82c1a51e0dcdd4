//! Requests in HTTP/1: an upstream gets no field of the client's connection, and none of a proxy.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::probes::probe_request;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = probe_request(bytes) {
        panic!("{problem}");
    }
});
