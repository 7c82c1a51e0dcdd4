//! TLS record headers (RFC 8446 section 5.1), with rustls's rules.

/// ContentType handshake.
pub(crate) const HANDSHAKE: u8 = 22;
/// The high byte of every legacy_record_version; the low one is not to be looked at.
pub(crate) const MAJOR_VERSION: u8 = 3;
/// Type, version and length.
pub(crate) const HEADER_LEN: u32 = 5;
/// No record's payload is longer: 2^14 bytes and what TLS 1.2 allows for encryption. rustls takes
/// that much in plain text too.
pub(crate) const MAX_PAYLOAD_LEN: u16 = 16_384 + 2_047;

/// Whether `content_type` is one that TLS has (change_cipher_spec to heartbeat).
pub(crate) const fn is_content_type(content_type: u8) -> bool {
    matches!(content_type, 20..=24)
}
