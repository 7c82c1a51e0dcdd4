//! `idp_*`: the identity provider, and our client there.

use std::net::IpAddr;

use super::{
    super::{super::section::Section, url},
    secrets::text_or_file,
};
use crate::identity::{
    provider::preset::{RESERVED_PARAMS, default_scopes, defaults, is_any_tenant},
    spec::{ClientSecret, ProviderPreset, ProviderSpec},
};

const PROVIDER: &str = "idp_provider";
const URL: &str = "idp_provider_url";

const PRESETS: [(&str, ProviderPreset); 9] = [
    ("oidc", ProviderPreset::Oidc),
    ("google", ProviderPreset::Google),
    ("azure", ProviderPreset::Azure),
    ("okta", ProviderPreset::Okta),
    ("auth0", ProviderPreset::Auth0),
    ("onelogin", ProviderPreset::OneLogin),
    ("ping", ProviderPreset::Ping),
    ("cognito", ProviderPreset::Cognito),
    ("gitlab", ProviderPreset::GitLab),
];

/// Pomerium's own service, which is its default.
const HOSTED: &str = "hosted";

/// Providers of Pomerium that do not speak OpenID Connect.
const WITHOUT_OPENID: [&str; 2] = ["apple", "github"];

/// Whether people are to sign in. A provider that is unknown counts: its error is reported.
pub(super) fn is_configured(root: &Section<'_>) -> bool {
    root.text(PROVIDER).is_some_and(|name| !name.eq_ignore_ascii_case(HOSTED))
}

/// Reads the keys; `None` without a provider, or after a reported error. `tenants` are those of
/// `portcullis.sign_in`.
pub(super) fn provider(root: &Section<'_>, sign_in: &Section<'_>) -> Option<ProviderSpec> {
    let preset = preset(root);
    let issuer_url = issuer_url(root, preset);
    let client_id = client_id(root);
    let client_secret = text_or_file(root, "idp_client_secret", "idp_client_secret_file");
    let scopes = scopes(root);
    let request_params = request_params(root);
    let tenants = tenants(sign_in, preset, issuer_url.as_deref());
    let (preset, issuer_url) = (preset?, issuer_url?);
    let params = |(name, value): &(&str, &str)| (Box::from(*name), Box::from(*value));
    Some(ProviderSpec {
        preset,
        scopes: scopes.unwrap_or_else(|| default_scopes(preset, &issuer_url)),
        request_params: request_params
            .unwrap_or_else(|| defaults(preset).params.iter().map(params).collect()),
        issuer_url,
        client_id: client_id?,
        client_secret: client_secret.map(|secret| ClientSecret(secret.text.into())),
        tenants,
    })
}

fn preset(root: &Section<'_>) -> Option<ProviderPreset> {
    let name = root.text(PROVIDER)?.to_ascii_lowercase();
    if let Some((_, preset)) = PRESETS.iter().find(|(known, _)| *known == name) {
        return Some(*preset);
    }
    let known = PRESETS.map(|(known, _)| known).join(", ");
    let name = name.escape_debug();
    if name.to_string() == HOSTED {
        let message = "has no effect: Pomerium's hosted service serves only Pomerium, so nobody \
                       can sign in";
        root.warn_with_hint(PROVIDER, message, format!("one of {known}"));
    } else if WITHOUT_OPENID.contains(&name.to_string().as_str()) {
        let message = format!("`{name}` does not speak OpenID Connect and is not supported");
        root.error_with_hint(PROVIDER, message, "use an OpenID Connect provider");
    } else {
        let message = format!("`{name}` is not a known provider");
        root.error_with_hint(PROVIDER, message, format!("one of {known}"));
    }
    None
}

fn issuer_url(root: &Section<'_>, preset: Option<ProviderPreset>) -> Option<Box<str>> {
    let Some(text) = root.text(URL) else {
        let default = preset.and_then(|preset| defaults(preset).url);
        let is_missing = preset.is_some() && default.is_none() && !root.has(URL);
        if is_missing || preset.is_some() && root.is_blank(URL) {
            let message = "is missing, and this provider has no default";
            root.error_with_hint(URL, message, "the issuer, such as https://idp.example.com");
        }
        return default.map(Box::from);
    };
    match check_issuer(&text) {
        Ok(()) => Some(text.into()),
        Err(problem) => {
            root.error_with_hint(URL, problem, "write https://idp.example.com");
            None
        }
    }
}

/// The issuer, as far as it is given: the same that [`provider`] checks.
pub(super) fn unchecked_issuer_url(root: &Section<'_>) -> Option<Box<str>> {
    let name = root.text(PROVIDER)?.to_ascii_lowercase();
    let preset = PRESETS.iter().find(|(known, _)| *known == name).map(|(_, preset)| *preset);
    let default = || preset.and_then(|preset| defaults(preset).url).map(Box::from);
    root.text(URL).map(Box::from).or_else(default)
}

/// Whether a URL may be that of an issuer or of its keys.
pub(super) fn check_issuer(text: &str) -> Result<(), String> {
    let url = url::parse(text)?;
    let is_loopback = url.host == "localhost" || url.ip().is_some_and(is_loopback);
    match url.scheme.as_str() {
        _ if url.host.is_empty() || url.host.contains('*') => Err("it names no host".to_owned()),
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => Err("`http` is supported on loopback only".to_owned()),
        _ => Err("its scheme must be https".to_owned()),
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Whether the provider is called over TLS.
pub(super) fn is_over_tls(provider: &ProviderSpec) -> bool {
    !is_plain(&provider.issuer_url)
}

/// Whether a URL has the scheme `http`.
pub(super) fn is_plain(url: &str) -> bool {
    url.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("http:"))
}

fn client_id(root: &Section<'_>) -> Option<Box<str>> {
    let key = "idp_client_id";
    let id = root.text(key);
    let is_missing = !root.has(key) || root.is_blank(key);
    if id.is_none() && is_missing && is_configured(root) {
        let hint = "the id that the provider gave when the client was registered";
        root.error_with_hint(key, "is missing", hint);
    }
    id.map(Box::from)
}

/// `idp_scopes`, with `openid`; `None` if absent.
fn scopes(root: &Section<'_>) -> Option<Vec<Box<str>>> {
    let key = "idp_scopes";
    let mut scopes: Vec<Box<str>> = Vec::new();
    for scope in root.list(key) {
        let is_scope = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
        if scope.is_empty() || !scope.bytes().all(is_scope) {
            let message = format!("`{}` is not a scope", scope.escape_debug());
            root.error_with_hint(key, message, "write a list, or separate scopes by commas");
        } else if !scopes.iter().any(|known| **known == *scope) {
            scopes.push(scope.into());
        }
    }
    if scopes.is_empty() {
        return None;
    }
    if !scopes.iter().any(|scope| **scope == *"openid") {
        scopes.insert(0, "openid".into());
    }
    Some(scopes)
}

/// `idp_request_params`; `None` if absent.
fn request_params(root: &Section<'_>) -> Option<Vec<(Box<str>, Box<str>)>> {
    let key = "idp_request_params";
    root.value(key)?;
    let mut params: Vec<(Box<str>, Box<str>)> = Vec::new();
    for (name, value) in root.map(key) {
        if name.is_empty() || RESERVED_PARAMS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            let message = "is a parameter of the flow itself and cannot be set";
            root.error(&format!("{key}.{name}"), message);
        } else {
            params.push((name.into(), value.into()));
        }
    }
    Some(params)
}

fn tenants(
    sign_in: &Section<'_>,
    preset: Option<ProviderPreset>,
    issuer_url: Option<&str>,
) -> Vec<Box<str>> {
    let key = "tenants";
    let tenants: Vec<Box<str>> = sign_in.list(key).into_iter().map(Box::from).collect();
    let is_any = issuer_url.is_some_and(is_any_tenant);
    if tenants.iter().any(|tenant| tenant.trim().is_empty()) {
        sign_in.error(key, "names an empty tenant");
    } else if is_any && tenants.is_empty() {
        let message = "is required with this idp_provider_url, which lets in users of any tenant";
        sign_in.error_with_hint(key, message, "list the ids of your tenants");
    } else if !tenants.is_empty() && preset.is_some_and(|preset| preset != ProviderPreset::Azure) {
        let message = "refuses all users whose token has no `tid`, which only Azure's have";
        sign_in.warn(key, message);
    }
    tenants
}
