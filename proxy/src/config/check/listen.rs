//! The listeners' addresses.

use std::net::SocketAddr;

use super::{super::section::Section, address};
use crate::listener::ListenSpec;

/// `address` and `http_redirect_addr`.
pub(super) fn listen(root: &Section<'_>) -> ListenSpec {
    let addresses = addresses(root);
    let redirect_address = redirect_address(root);
    if let Some(redirect) = redirect_address
        && addresses.contains(&redirect)
    {
        root.error("http_redirect_addr", format!("{redirect} is in `address` already"));
    }
    ListenSpec { addresses, redirect_address }
}

fn addresses(root: &Section<'_>) -> Vec<SocketAddr> {
    let insecure = root.flag("insecure_server").unwrap_or(false);
    let default_port = if insecure { 80 } else { 443 };
    let mut addresses = Vec::new();
    for text in root.list("address") {
        match address::parse(&text, Some(default_port)) {
            Ok(address) if addresses.contains(&address) => {
                root.error("address", format!("{address} is listed twice"));
            }
            Ok(address) => addresses.push(address),
            Err(problem) => {
                root.error_with_hint("address", problem, "write :443, 127.0.0.1:443 or [::1]:443");
            }
        }
    }
    if addresses.is_empty() {
        addresses.extend(address::parse(":443", None));
    }
    addresses
}

fn redirect_address(root: &Section<'_>) -> Option<SocketAddr> {
    let text = root.text("http_redirect_addr")?;
    // Old deployment recipes quote the value twice.
    match address::parse(text.trim_matches(['"', '\'']), Some(80)) {
        Ok(address) => Some(address),
        Err(problem) => {
            root.error_with_hint("http_redirect_addr", problem, "write :80 or 127.0.0.1:80");
            None
        }
    }
}
