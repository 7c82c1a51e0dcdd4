//! Private keys: none makes the reader panic, and each signs what its public key verifies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::facade::jose::{
    AllowedAlgorithms, IdTokenClaims, IdTokenRules, ProviderKeys, SigningKey, TokenError,
    public_jwks, verify_id_token,
};

#[path = "../../proxy/src/identity/jose/tests/oracle.rs"]
mod oracle;

fuzz_target!(|bytes: &[u8]| {
    oracle::read_signing_keys(bytes);
});
