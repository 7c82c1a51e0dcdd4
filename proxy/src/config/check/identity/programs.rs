//! Where programs may take tokens.

use super::super::super::section::Section;
use crate::hostname;

const KEY: &str = "programmatic_redirect_domain_whitelist";

/// `programmatic_redirect_domain_whitelist`, by default `localhost`.
pub(super) fn hosts(root: &Section<'_>) -> Box<[Box<str>]> {
    if !root.has(KEY) {
        return ["localhost".into()].into();
    }
    let mut hosts = Vec::new();
    for (index, text) in root.list(KEY).iter().enumerate() {
        match hostname::normalise_host(text) {
            Some(host) => hosts.push(host),
            None => {
                let key = format!("{KEY}[{index}]");
                let message = format!("`{}` is not a host", text.escape_debug());
                root.error_with_hint(&key, message, "write localhost or tools.example.com");
            }
        }
    }
    hosts.into()
}
