//! Policies: none makes the parser panic, and each decides as the model decides.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::policy::{
    ClientCertificateStatus, Identity, LeafCertificate, Policy, PolicyInput, PolicyOutcome,
    PolicySpec, RuleResult, SanKind, parse,
};

#[path = "../../proxy/src/policy/tests/model.rs"]
mod model;

fuzz_target!(|bytes: &[u8]| {
    model::replay(bytes);
});
