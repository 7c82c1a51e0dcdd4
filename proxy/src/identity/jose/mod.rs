//! JSON Web Signatures and keys (RFC 7515, 7517 - 7519), by `jsonwebtoken` over `ring`. Pure.

/// A private key that signs assertions.
#[derive(Clone)]
pub(crate) struct SigningKey {}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}
