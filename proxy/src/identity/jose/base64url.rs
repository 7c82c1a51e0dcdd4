//! Base64url without padding (RFC 7515, section 2), strictly: one text for each value.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// Encodes bytes.
pub(super) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes a text; `None` for padding, white space, foreign characters and superfluous bits.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
