//! Sign-in, sessions, and identity for upstreams.

mod authenticate;
mod bearer;
mod claim_headers;
mod cookies;
mod programs;
mod provider;
mod route_clients;
mod route_keys;
mod secrets;
mod sign_in;
mod signing_keys;

use std::sync::Arc;

use super::{
    super::{model::RouteConfig, section::Section},
    inspect::any_on,
    upstream::Trust,
};
use crate::{
    identity::spec::{IdentitySpec, IssuerFormat},
    listener::ListenSpec,
    tls::ServerTlsSpec,
};

use sign_in::CommonSettings;

pub(super) use bearer::BearerDefaults;
pub(super) use claim_headers::stripped_names;
pub(super) use route_clients::RouteClients;
pub(super) use route_keys::{issuer_format, pass_identity_headers};

/// Keys that have no effect unless people can sign in.
const SIGN_IN_KEYS: [&str; 17] = [
    "authenticate_service_url",
    "idp_provider_url",
    "idp_client_id",
    "idp_client_secret",
    "idp_client_secret_file",
    "idp_scopes",
    "idp_request_params",
    "cookie_secret",
    "cookie_secret_file",
    "cookie_name",
    "cookie_domain",
    "cookie_http_only",
    "cookie_expire",
    "cookie_same_site",
    "signout_redirect_url",
    "programmatic_redirect_domain_whitelist",
    "authenticate_callback_path",
];

/// Who can be known, and what upstreams are told by default.
#[derive(Debug, Clone, Copy)]
pub(super) struct IdentityDefaults {
    /// An identity provider is configured.
    pub(super) sign_in: bool,
    /// Trusted client certificates identify users.
    pub(super) certificates: bool,
    /// `identity_providers`: tokens identify machines.
    pub(super) tokens: bool,
    /// `pass_identity_headers`.
    pub(super) pass_identity_headers: bool,
    /// `jwt_issuer_format`.
    pub(super) issuer_format: IssuerFormat,
}

/// Reads the settings that routes inherit. `certificates` says whether client certificates identify
/// users.
pub(super) fn defaults(root: &Section<'_>, certificates: bool) -> IdentityDefaults {
    let none = IdentityDefaults {
        sign_in: provider::is_configured(root),
        certificates,
        tokens: root.has("identity_providers"),
        pass_identity_headers: false,
        issuer_format: IssuerFormat::default(),
    };
    IdentityDefaults {
        pass_identity_headers: pass_identity_headers(root, none),
        issuer_format: issuer_format(root, none),
        ..none
    }
}

/// What the rest of the configuration says that sign-in depends on.
pub(super) struct Surroundings<'a> {
    pub(super) routes: &'a [RouteConfig],
    pub(super) tls: Option<&'a ServerTlsSpec>,
    pub(super) listen: &'a ListenSpec,
    pub(super) trust: &'a Trust<'a>,
    pub(super) bearer: &'a BearerDefaults,
    pub(super) clients: &'a RouteClients,
}

/// Reads everything about identity.
pub(super) fn identity(
    root: &Section<'_>,
    own: &Section<'_>,
    around: &Surroundings<'_>,
    defaults: IdentityDefaults,
) -> IdentitySpec {
    let shared_secret = secrets::shared(root);
    let signing_keys = signing_keys::signing_keys(root);
    let claim_headers = claim_headers::claim_headers(root);
    let common = CommonSettings::new(own);
    let sign_in = sign_in::sign_in(root, own, around, &claim_headers, &common);
    if !defaults.sign_in {
        warn_of_no_provider(root, own, defaults.tokens);
    }
    let is_signed = around.routes.iter().any(|route| route.http.passes_identity());
    let is_known_otherwise = defaults.certificates || defaults.tokens;
    let is_seed = signing_keys.is_empty() && is_signed && is_known_otherwise;
    if !secrets::is_shared_given(root) && (defaults.sign_in || is_seed) {
        secrets::warn_of_random(root);
    }
    IdentitySpec {
        sign_in: sign_in.map(Arc::new),
        shared_secret,
        signing_keys: signing_keys.into(),
        tokens: Arc::new(common.tokens(around, &claim_headers)),
        claim_headers: claim_headers.into(),
    }
}

/// One warning for all keys of a file that lets nobody sign in.
fn warn_of_no_provider(root: &Section<'_>, own: &Section<'_>, has_tokens: bool) {
    if root.has("idp_provider") {
        return; // `hosted`, which has been reported
    }
    let of_root = SIGN_IN_KEYS.into_iter().find(|key| root.has(key));
    let of_own = (!has_tokens && any_on(own, &["sign_in"])).then_some("portcullis.sign_in");
    let Some(key) = of_root.or(of_own) else { return };
    let hint = "set idp_provider, idp_client_id and authenticate_service_url";
    let message = "has no effect: nobody can sign in, because no identity provider is configured";
    root.warn_with_hint(key, message, hint);
}
