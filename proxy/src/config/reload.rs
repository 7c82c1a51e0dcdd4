//! Noticing that a file of the configuration has changed.

/// SHA-256, by which contents are compared.
pub(super) fn digest(content: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, content).as_ref());
    bytes
}
