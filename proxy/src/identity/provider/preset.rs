//! `idp_provider`: the values that a preset fills in, and how it differs from plain OpenID Connect.
//! Pure.

use crate::identity::spec::ProviderPreset;

/// What a preset fills in where the configuration says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PresetDefaults {
    /// `idp_provider_url`; `None` if the key is required.
    pub url: Option<&'static str>,
    /// `idp_scopes`.
    pub scopes: &'static [&'static str],
    /// `idp_request_params`.
    pub params: &'static [(&'static str, &'static str)],
}

/// The parameters of the authorization request that are ours alone.
pub(crate) const RESERVED_PARAMS: [&str; 11] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "redirect_uri",
    "request",
    "request_uri",
    "response_mode",
    "response_type",
    "scope",
    "state",
];

const OFFLINE: &[&str] = &["openid", "profile", "email", "offline_access"];
const ONLINE: &[&str] = &["openid", "profile", "email"];

/// The values of a preset.
pub(crate) fn defaults(preset: ProviderPreset) -> PresetDefaults {
    let (url, scopes, params): (_, &'static [&str], &'static [(&str, &str)]) = match preset {
        ProviderPreset::Oidc | ProviderPreset::Okta => (None, OFFLINE, &[]),
        ProviderPreset::Auth0 | ProviderPreset::Ping => (None, OFFLINE, &[]),
        // Google gives refresh tokens by a parameter, and no scope of that name exists there.
        ProviderPreset::Google => (
            Some("https://accounts.google.com"),
            ONLINE,
            &[("prompt", "select_account consent"), ("access_type", "offline")],
        ),
        ProviderPreset::Azure => (None, OFFLINE, &[("prompt", "select_account")]),
        ProviderPreset::OneLogin => (
            Some("https://openid-connect.onelogin.com/oidc"),
            &["openid", "profile", "email", "groups", "offline_access"],
            &[],
        ),
        ProviderPreset::Cognito => (None, ONLINE, &[]),
        ProviderPreset::GitLab => (Some("https://gitlab.com"), ONLINE, &[]),
    };
    PresetDefaults { url, scopes, params }
}

/// The scopes of a preset at this URL: version 2 of OneLogin's API has no `offline_access`.
pub(crate) fn default_scopes(preset: ProviderPreset, issuer_url: &str) -> Vec<Box<str>> {
    let is_v2 =
        preset == ProviderPreset::OneLogin && issuer_url.trim_end_matches('/').ends_with("/oidc/2");
    let scopes = defaults(preset).scopes.iter().copied();
    scopes.filter(|scope| !(is_v2 && *scope == "offline_access")).map(Into::into).collect()
}

/// Azure's names for "any tenant" in the place of a tenant.
const ANY_TENANT: [&str; 3] = ["common", "organizations", "consumers"];

/// The place of a tenant's id in the issuer of such a URL's metadata.
const TENANT_PLACE: &str = "{tenantid}";

/// Whether an Azure URL lets in users of any tenant.
pub(crate) fn is_any_tenant(issuer_url: &str) -> bool {
    issuer_url.split('/').skip(3).any(|segment| ANY_TENANT.contains(&segment))
}

/// The issuers that metadata of this URL may name.
pub(super) fn metadata_issuers(preset: ProviderPreset, issuer_url: &str) -> Vec<String> {
    let mut issuers = vec![issuer_url.to_owned()];
    if preset == ProviderPreset::Azure && is_any_tenant(issuer_url) {
        let segments = issuer_url.split('/').map(|segment| match ANY_TENANT.contains(&segment) {
            true => TENANT_PLACE,
            false => segment,
        });
        issuers.push(segments.collect::<Vec<_>>().join("/"));
    }
    issuers
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [ProviderPreset; 9] = [
        ProviderPreset::Oidc,
        ProviderPreset::Google,
        ProviderPreset::Azure,
        ProviderPreset::Okta,
        ProviderPreset::Auth0,
        ProviderPreset::OneLogin,
        ProviderPreset::Ping,
        ProviderPreset::Cognito,
        ProviderPreset::GitLab,
    ];

    #[test]
    fn every_preset_asks_for_openid_and_names_no_parameter_of_ours() {
        for preset in ALL {
            let defaults = defaults(preset);
            assert_eq!(defaults.scopes.first(), Some(&"openid"), "{preset:?}");
            assert!(defaults.params.iter().all(|(name, _)| !RESERVED_PARAMS.contains(name)));
        }
    }

    #[test]
    fn onelogin_s_second_version_is_not_asked_for_offline_access() {
        let has = |url| {
            let scopes = default_scopes(ProviderPreset::OneLogin, url);
            scopes.iter().any(|scope| &**scope == "offline_access")
        };
        assert!(has("https://openid-connect.onelogin.com/oidc"));
        assert!(!has("https://acme.onelogin.com/oidc/2"));
        assert!(!has("https://acme.onelogin.com/oidc/2/"));
        assert!(default_scopes(ProviderPreset::Oidc, "https://idp.example/oidc/2").len() == 4);
    }

    #[test]
    fn azure_s_common_url_has_an_issuer_with_a_place_for_a_tenant() {
        let url = "https://login.microsoftonline.com/common/v2.0";
        assert!(is_any_tenant(url));
        assert!(!is_any_tenant("https://login.microsoftonline.com/5f3a/v2.0"));
        assert!(!is_any_tenant("https://common/5f3a/v2.0"));
        let issuers = metadata_issuers(ProviderPreset::Azure, url);
        assert_eq!(issuers[1], "https://login.microsoftonline.com/{tenantid}/v2.0");
        assert_eq!(metadata_issuers(ProviderPreset::Oidc, url), [url]);
    }
}
