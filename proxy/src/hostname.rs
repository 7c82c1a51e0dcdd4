//! Names of hosts in the one form in which they are compared: in configuration, in SNI and in
//! requests. Pure.

/// The longest name taken (RFC 1035 section 3.1).
const MAX_NAME_BYTES: usize = 253;

/// Lower case, without the trailing dot. `None` for what is no name: stricter than RFC 3986
/// `reg-name`, it has letters, digits, `-`, `_` and dots, and no empty label.
pub(crate) fn normalise(name: &str) -> Option<Box<str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        return None;
    }
    let mut previous = b'.';
    for byte in name.bytes() {
        let allowed = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if !allowed || (byte == b'.' && previous == b'.') {
            return None;
        }
        previous = byte;
    }
    if previous == b'.' {
        return None;
    }
    Some(name.to_ascii_lowercase().into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_form() {
        for name in ["a.example", "A.Example", "a.example."] {
            assert_eq!(normalise(name).as_deref(), Some("a.example"));
        }
        for bad in ["", ".", "a..b", ".a", "a..", "a b", "*.a", "é.example", "a:1"] {
            assert_eq!(normalise(bad), None, "{bad:?}");
        }
        assert!(normalise(&"a".repeat(253)).is_some());
        assert!(normalise(&"a".repeat(254)).is_none());
    }
}
