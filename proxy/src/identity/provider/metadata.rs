//! The provider's metadata (OpenID Connect Discovery 1.0, RFC 8414) and what makes it acceptable.
//! Pure.

use serde::Deserialize;

use super::{
    end_session::EndSession,
    form,
    preset::{RESERVED_PARAMS, metadata_issuers},
    url::ProviderUrl,
};
use crate::identity::{
    calls::ProviderFailure,
    jose::{AllowedAlgorithms, parse_object},
    shared::ProviderView,
    spec::{ProviderPreset, ProviderSpec},
};

/// Acceptable metadata.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::identity) struct ProviderMetadata {
    pub(in crate::identity) view: ProviderView,
    pub(in crate::identity) token_endpoint: ProviderUrl,
    pub(in crate::identity) jwks_uri: ProviderUrl,
    pub(in crate::identity) userinfo_endpoint: Option<ProviderUrl>,
    pub(in crate::identity) revocation_endpoint: Option<ProviderUrl>,
    pub(in crate::identity) id_token_algorithms: AllowedAlgorithms,
    pub(in crate::identity) userinfo_algorithms: AllowedAlgorithms,
    /// A client's secret goes into the form (`client_secret_post`) and not into a header.
    pub(in crate::identity) secret_in_form: bool,
}

/// The members that we look at. A member that is there twice is an error.
#[derive(Deserialize)]
struct RawMetadata {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    userinfo_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    end_session_endpoint: Option<String>,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
    userinfo_signing_alg_values_supported: Option<Vec<String>>,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
    authorization_response_iss_parameter_supported: Option<bool>,
}

/// Where a provider's metadata is.
pub(super) fn discovery_url(spec: &ProviderSpec) -> Result<ProviderUrl, ProviderFailure> {
    let issuer = spec.issuer_url.trim_end_matches('/');
    let text = format!("{issuer}/.well-known/openid-configuration");
    ProviderUrl::parse("idp_provider_url", &text)
}

/// Reads metadata that was fetched for this provider.
pub(super) fn parse(body: &[u8], spec: &ProviderSpec) -> Result<ProviderMetadata, ProviderFailure> {
    let raw: RawMetadata = serde_json::from_slice(body)
        .map_err(|error| invalid(format!("cannot read its metadata: {error}")))?;
    check_issuer(&raw.issuer, spec)?;
    let issuer = ProviderUrl::parse("idp_provider_url", &spec.issuer_url)?;
    let url = |name: &str, text: &str| endpoint(name, text, &issuer);
    let optional =
        |name: &str, text: &Option<String>| text.as_deref().map(|text| url(name, text)).transpose();
    let authorization = url("authorization_endpoint", &raw.authorization_endpoint)?;
    check_query(&authorization)?;
    let end_session = optional("end_session_endpoint", &raw.end_session_endpoint)?;
    let end_session = EndSession::new(spec.preset, end_session.as_ref(), &issuer, &authorization);
    Ok(ProviderMetadata {
        token_endpoint: url("token_endpoint", &raw.token_endpoint)?,
        jwks_uri: url("jwks_uri", &raw.jwks_uri)?,
        userinfo_endpoint: optional("userinfo_endpoint", &raw.userinfo_endpoint)?,
        revocation_endpoint: match optional("revocation_endpoint", &raw.revocation_endpoint)? {
            None => revocation_of_preset(spec, &authorization)?,
            named => named,
        },
        id_token_algorithms: algorithms(&raw.id_token_signing_alg_values_supported),
        userinfo_algorithms: algorithms(&raw.userinfo_signing_alg_values_supported),
        secret_in_form: secret_in_form(&raw, spec)?,
        view: ProviderView {
            id: spec.id(),
            issuer: raw.issuer.into(),
            authorization_endpoint: authorization.text,
            end_session,
            iss_in_response: raw.authorization_response_iss_parameter_supported == Some(true),
        },
    })
}

/// Where the keys are, by the metadata of an issuer that was fetched from this URL.
pub(super) fn jwks_url(
    body: &[u8],
    issuer: &str,
    fetched_from: &ProviderUrl,
) -> Result<ProviderUrl, ProviderFailure> {
    let metadata = parse_object(body).ok_or_else(|| invalid("cannot read its metadata".into()))?;
    let text = |name: &str| metadata.get(name).and_then(serde_json::Value::as_str);
    if text("issuer") != Some(issuer) {
        return Err(invalid("its metadata is of another issuer".into()));
    }
    let url = text("jwks_uri").ok_or_else(|| invalid("its metadata has no jwks_uri".into()))?;
    endpoint("jwks_uri", url, fetched_from)
}

/// Discovery, section 4.3: else one provider could speak for another.
fn check_issuer(issuer: &str, spec: &ProviderSpec) -> Result<(), ProviderFailure> {
    let bare = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let mut expected = metadata_issuers(spec.preset, &spec.issuer_url).into_iter();
    if expected.any(|expected| bare(&expected) == bare(issuer)) {
        return Ok(());
    }
    let shown: String = issuer.chars().filter(|c| !c.is_control()).take(200).collect();
    Err(invalid(format!(
        "its metadata is of the issuer \"{shown}\"; set idp_provider_url to that if it is right"
    )))
}

/// Cognito has one beside its authorization endpoint, and does not name it everywhere.
fn revocation_of_preset(
    spec: &ProviderSpec,
    authorization: &ProviderUrl,
) -> Result<Option<ProviderUrl>, ProviderFailure> {
    if spec.preset != ProviderPreset::Cognito {
        return Ok(None);
    }
    let text = authorization.with_path("/oauth2/revoke");
    ProviderUrl::parse("revocation_endpoint", &text).map(Some)
}

/// Plain HTTP only between processes of this machine: a remote provider must not name a service
/// here.
fn endpoint(name: &str, text: &str, issuer: &ProviderUrl) -> Result<ProviderUrl, ProviderFailure> {
    let url = ProviderUrl::parse(name, text)?;
    if !url.is_tls && !issuer.is_loopback() {
        return Err(invalid(format!("{name} has no https")));
    }
    Ok(url)
}

/// A query of the endpoint's own stays, and must not take the place of our parameters.
fn check_query(authorization: &ProviderUrl) -> Result<(), ProviderFailure> {
    let query = authorization.path.query().unwrap_or("");
    match RESERVED_PARAMS.iter().find(|name| form::query_names(query, name)) {
        Some(name) => {
            Err(invalid(format!("authorization_endpoint itself has the parameter {name}")))
        }
        None => Ok(()),
    }
}

fn algorithms(listed: &Option<Vec<String>>) -> AllowedAlgorithms {
    AllowedAlgorithms::from_metadata(listed.as_deref())
}

/// RFC 8414: without the list, `client_secret_basic`.
fn secret_in_form(raw: &RawMetadata, spec: &ProviderSpec) -> Result<bool, ProviderFailure> {
    let Some(methods) = &raw.token_endpoint_auth_methods_supported else { return Ok(false) };
    let has = |method: &str| methods.iter().any(|listed| listed == method);
    match (has("client_secret_basic"), has("client_secret_post")) {
        (true, _) => Ok(false),
        (false, true) => Ok(true),
        (false, false) if spec.client_secret.is_none() => Ok(false),
        (false, false) => {
            Err(invalid("it takes no client secret, neither in a header nor in a form".into()))
        }
    }
}

fn invalid(why: String) -> ProviderFailure {
    ProviderFailure::Invalid(why)
}

#[cfg(test)]
mod tests;
