//! Settings for tests of this room.

use std::{sync::Arc, time::Duration};

use crate::identity::spec::{
    AuthenticateUrl, ClientSecret, CookieSpec, ProviderPreset, ProviderSpec, SameSite, SignInSpec,
    UnverifiedEmail, WithoutRefreshToken,
};

/// A client of the provider at this URL.
pub(in crate::identity) fn sign_in_spec(issuer_url: &str) -> SignInSpec {
    SignInSpec {
        authenticate: AuthenticateUrl { host: "a.example".into(), port: 443 },
        provider: ProviderSpec {
            preset: ProviderPreset::Oidc,
            issuer_url: issuer_url.into(),
            client_id: "client".into(),
            client_secret: Some(ClientSecret("se+cr/et %:".into())),
            scopes: vec!["openid".into()],
            request_params: Vec::new(),
            tenants: Vec::new(),
        },
        anchors: None,
        cookies: CookieSpec {
            name: "_pomerium".into(),
            domain: None,
            http_only: true,
            expire: Duration::from_secs(14 * 3600),
            same_site: SameSite::Unset,
        },
        cookie_secret: None,
        previous_secrets: Vec::new(),
        recheck: Duration::from_secs(600),
        without_refresh_token: WithoutRefreshToken::AccessToken,
        unverified_email: UnverifiedEmail::Ignore,
        kept_claims: Arc::from(["groups".into()]),
        signout_redirect_url: None,
        listen_ports: vec![443],
    }
}
