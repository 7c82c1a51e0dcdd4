//! `authenticate_service_url`: the host that users sign in at.

use super::super::{super::section::Section, url};
use crate::{identity::spec::AuthenticateUrl, tls::ServerTlsSpec};

const KEY: &str = "authenticate_service_url";
const HINT: &str = "write https://authenticate.example.com";

/// Reads the URL. `required` says that people are to sign in.
pub(super) fn authenticate(root: &Section<'_>, required: bool) -> Option<AuthenticateUrl> {
    callback_path(root);
    let Some(text) = root.text(KEY) else {
        if required && (!root.has(KEY) || root.is_blank(KEY)) {
            let message = "is missing, and is required with `idp_provider`: sign-in is served here";
            root.error_with_hint(KEY, message, HINT);
        }
        return None;
    };
    match parse(&text) {
        Ok(url) if is_hosted(&url) => {
            if required {
                let message = format!(
                    "`{}` is Pomerium's hosted service, which serves only Pomerium; sign-in is \
                     served here",
                    url.host
                );
                root.error_with_hint(KEY, message, "give it a name of yours");
            }
            None
        }
        Ok(url) => Some(url),
        Err(problem) => {
            root.error_with_hint(KEY, format!("bad authenticate_service_url: {problem}"), HINT);
            None
        }
    }
}

fn parse(text: &str) -> Result<AuthenticateUrl, String> {
    let url = url::parse(text.trim())?;
    if url.scheme != "https" {
        return Err("its scheme must be https".to_owned());
    }
    if !matches!(url.path.as_str(), "" | "/") {
        return Err("it must not have a path".to_owned());
    }
    if url.host.is_empty() || url.host.contains('*') {
        return Err("it must name one host".to_owned());
    }
    Ok(AuthenticateUrl { host: url.host.into(), port: url.port.unwrap_or(443) })
}

fn is_hosted(url: &AuthenticateUrl) -> bool {
    *url.host == *"pomerium.app" || url.host.ends_with(".pomerium.app")
}

fn callback_path(root: &Section<'_>) {
    const SERVED: &str = "/oauth2/callback";
    let key = "authenticate_callback_path";
    if root.text(key).is_some_and(|path| path != SERVED) {
        root.error_with_hint(key, format!("only {SERVED} is supported"), "remove the key");
    }
}

/// Warns if browsers will refuse the certificate at this host.
pub(super) fn check_certificate(
    root: &Section<'_>,
    url: &AuthenticateUrl,
    tls: Option<&ServerTlsSpec>,
) {
    let Some(tls) = tls else {
        let message = "is served over plain HTTP (insecure_server): a proxy in front must \
                       terminate TLS for it";
        return root.warn(KEY, message);
    };
    let names = || tls.certificates.iter().flat_map(|certificate| &certificate.names);
    if !tls.certificates.is_empty() && !names().any(|name| covers(name, &url.host)) {
        let message =
            format!("no server certificate is for `{}`: browsers will refuse it", url.host);
        root.warn_with_hint(KEY, message, "add one to `certificates`");
    }
}

/// Whether a name of a certificate stands for a host (RFC 6125 section 6.4.3).
fn covers(name: &str, host: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(parent) => host.split_once('.').is_some_and(|(_, of_host)| of_host == parent),
        None => name == host,
    }
}
