//! TLS record headers (RFC 8446 section 5.1), with rustls's rules.

/// The ContentType of handshake records.
pub(crate) const HANDSHAKE: u8 = 22;
/// The high byte of every legacy_record_version; the low one must be ignored.
pub(crate) const MAJOR_VERSION: u8 = 3;
/// The length of type, version and length.
pub(crate) const HEADER_LEN: u32 = 5;
/// The maximum payload of a record: 2^14 bytes plus the expansion that TLS 1.2 allows for
/// encryption. rustls accepts that much in plain text too.
pub(crate) const MAX_PAYLOAD_LEN: u16 = 16_384 + 2_047;

/// Whether `content_type` exists in TLS (change_cipher_spec to heartbeat).
pub(crate) const fn is_content_type(content_type: u8) -> bool {
    matches!(content_type, 20..=24)
}
