//! `signing_key`: the private keys that sign assertions.

use super::{
    super::super::{encoding, section::Section},
    secrets::{SecretText, text_or_file},
};
use crate::identity::jose::SigningKey;

/// The keys, in order; empty if none is given or a mistake was reported.
pub(super) fn signing_keys(root: &Section<'_>) -> Vec<SigningKey> {
    let Some(SecretText { key, text }) = text_or_file(root, "signing_key", "signing_key_file")
    else {
        return Vec::new();
    };
    match pem(&text).and_then(|pem| SigningKey::parse_all(&pem).map_err(|error| error.to_string()))
    {
        Ok(keys) => keys,
        Err(problem) => {
            let hint = "`openssl ecparam -genkey -name prime256v1 -noout` makes one";
            root.error_with_hint(key, problem, hint);
            Vec::new()
        }
    }
}

/// The PEM text, which may be given as base64.
fn pem(text: &str) -> Result<String, String> {
    if text.contains("-----BEGIN") {
        return Ok(text.to_owned());
    }
    let bytes =
        encoding::base64(text).map_err(|_| "is neither PEM nor base64 of PEM".to_owned())?;
    String::from_utf8(bytes).map_err(|_| "is base64, but not of PEM".to_owned())
}
