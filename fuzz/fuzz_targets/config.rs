//! Configurations: none makes the loader panic, and each refusal says where and why.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::probes::probe_config;

fuzz_target!(|bytes: &[u8]| {
    if let Err(problem) = probe_config(bytes) {
        panic!("{problem}");
    }
});
