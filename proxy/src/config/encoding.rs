//! Base64 as Pomerium's keys hold it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Decodes standard base64 with padding; white space in it is skipped. The error does not show the
/// text, which may be a key.
pub(super) fn base64(text: &str) -> Result<Vec<u8>, String> {
    if text.trim_start().starts_with("-----BEGIN") {
        return Err("is PEM text; base64 of the PEM is expected".to_owned());
    }
    let compact: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).map_err(|error| {
        let place = match error {
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol(at, _) => format!(" at input byte {at}"),
            base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => {
                String::new()
            }
        };
        format!("illegal base64 data{place}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_base64_is_decoded() {
        assert_eq!(base64(" aGVs\n bG8=\n"), Ok(b"hello".to_vec()));
    }

    #[test]
    fn what_is_not_base64_is_not_shown() {
        for text in ["c2Vj*cmV0", "c2VjcmV0c2", "-----BEGIN PRIVATE KEY-----"] {
            let message = base64(text).unwrap_err();
            assert!(!message.contains("c2Vj") && !message.contains("KEY"), "{message}");
        }
    }
}
