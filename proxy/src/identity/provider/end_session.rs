//! Where people sign out at the provider. Pure.

use super::{form, url::ProviderUrl};
use crate::identity::spec::ProviderPreset;

/// The provider's end-session endpoint, and the parameters that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EndSession {
    endpoint: Box<str>,
    parameters: EndSessionParameters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum EndSessionParameters {
    /// OpenID Connect RP-Initiated Logout 1.0.
    Standard,
    /// Auth0's older endpoint.
    Auth0,
    /// Cognito's hosted pages.
    Cognito,
}

impl EndSession {
    /// By the metadata, or by what the preset has instead; `None` if neither has one.
    pub(super) fn new(
        preset: ProviderPreset,
        in_metadata: Option<&ProviderUrl>,
        issuer: &ProviderUrl,
        authorization: &ProviderUrl,
    ) -> Option<EndSession> {
        let at = |base: &ProviderUrl, path: &str| base.with_path(path).into();
        let (endpoint, parameters) = match (preset, in_metadata) {
            (ProviderPreset::Cognito, Some(url)) => {
                (url.text.clone(), EndSessionParameters::Cognito)
            }
            (ProviderPreset::Cognito, None) => {
                (at(authorization, "/logout"), EndSessionParameters::Cognito)
            }
            (_, Some(url)) => (url.text.clone(), EndSessionParameters::Standard),
            (ProviderPreset::Auth0, None) => {
                (at(issuer, "/v2/logout"), EndSessionParameters::Auth0)
            }
            (_, None) => return None,
        };
        Some(EndSession { endpoint, parameters })
    }

    /// An endpoint for tests of other rooms.
    #[cfg(test)]
    pub(crate) fn standard(endpoint: &str) -> EndSession {
        EndSession { endpoint: endpoint.into(), parameters: EndSessionParameters::Standard }
    }

    /// The URL that signs somebody out there and leads back to `return_to`.
    pub(crate) fn url(
        &self,
        client_id: &str,
        id_token_hint: Option<&str>,
        return_to: &str,
    ) -> String {
        let mut pairs = vec![("client_id", client_id)];
        match self.parameters {
            EndSessionParameters::Standard => {
                pairs.push(("post_logout_redirect_uri", return_to));
                pairs.extend(id_token_hint.map(|token| ("id_token_hint", token)));
            }
            EndSessionParameters::Auth0 => pairs.push(("returnTo", return_to)),
            EndSessionParameters::Cognito => pairs.push(("logout_uri", return_to)),
        }
        let joint = if self.endpoint.contains('?') { '&' } else { '?' };
        format!("{}{joint}{}", self.endpoint, form::encode(&pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> ProviderUrl {
        ProviderUrl::parse("test", text).unwrap()
    }

    fn of(preset: ProviderPreset, in_metadata: Option<&str>) -> Option<String> {
        let issuer = url("https://idp.example/pool/");
        let authorization = url("https://login.example/authorize");
        let in_metadata = in_metadata.map(url);
        let end = EndSession::new(preset, in_metadata.as_ref(), &issuer, &authorization)?;
        Some(end.url("c&d", Some("a.b.c"), "https://a.example/?x=y"))
    }

    #[test]
    fn each_provider_gets_the_parameters_that_it_takes() {
        let back = "https%3A%2F%2Fa.example%2F%3Fx%3Dy";
        assert_eq!(
            of(ProviderPreset::Oidc, Some("https://idp.example/end?p=1")).unwrap(),
            format!(
                "https://idp.example/end?p=1&client_id=c%26d&post_logout_redirect_uri={back}\
                 &id_token_hint=a.b.c"
            )
        );
        assert_eq!(of(ProviderPreset::Oidc, None), None);
        assert_eq!(
            of(ProviderPreset::Auth0, None).unwrap(),
            format!("https://idp.example/v2/logout?client_id=c%26d&returnTo={back}")
        );
        assert_eq!(
            of(ProviderPreset::Cognito, None).unwrap(),
            format!("https://login.example/logout?client_id=c%26d&logout_uri={back}")
        );
    }
}
