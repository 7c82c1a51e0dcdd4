//! One of `identity_providers`: its keys, fetched when they are needed.

use std::sync::Arc;

use super::{
    Clock,
    fetched::{Fetched, Fresh},
    get,
    http::HttpClient,
    metadata,
    url::ProviderUrl,
};
use crate::{
    identity::{
        bearer::{keys::TokenKeys, spec::TokenIssuerSpec},
        calls::ProviderFailure,
        jose::{AllowedAlgorithms, ProviderKeys},
    },
    upstream::DnsNames,
};

/// Someone who makes tokens for machines.
pub(in crate::identity) struct TokenIssuer {
    spec: Arc<TokenIssuerSpec>,
    http: HttpClient,
    keys: Fetched<Arc<ProviderKeys>>,
    clock: Clock,
}

impl TokenIssuer {
    /// Calls nothing yet.
    pub(in crate::identity) fn new(
        spec: Arc<TokenIssuerSpec>,
        names: Arc<DnsNames>,
        clock: Clock,
    ) -> TokenIssuer {
        let http = HttpClient::new(names, spec.anchors.clone());
        TokenIssuer { spec, http, keys: Fetched::default(), clock }
    }

    /// As [`super::Provider::token_keys`].
    pub(in crate::identity) async fn token_keys(
        &self,
        lacking: Option<&Arc<ProviderKeys>>,
    ) -> Result<TokenKeys, ProviderFailure> {
        let what = format!("keys (identity_providers.{})", self.spec.name);
        let now_s = (self.clock)();
        let keys = current(&what, &self.keys, now_s, lacking, || self.fetch()).await?;
        Ok(snapshot(&self.keys, keys, &self.spec.issuer, &self.spec.algorithms))
    }

    async fn fetch(&self) -> Fresh<Arc<ProviderKeys>> {
        let url = match &self.spec.jwks_url {
            Some(url) => ProviderUrl::parse("jwks_url", url)?,
            None => self.discover().await?,
        };
        let answer = get(&self.http, &url).await?;
        let keys = ProviderKeys::parse(&answer.body)
            .map_err(|error| ProviderFailure::Invalid(error.to_string()))?;
        Ok((Arc::new(keys), answer.max_age))
    }

    async fn discover(&self) -> Result<ProviderUrl, ProviderFailure> {
        let issuer = &self.spec.issuer;
        let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let url = ProviderUrl::parse("issuer", &url)?;
        let answer = get(&self.http, &url).await?;
        metadata::jwks_url(&answer.body, issuer, &url)
    }
}

/// The keys that are kept, or newer ones where these lack one.
pub(super) async fn current<F: Future<Output = Fresh<Arc<ProviderKeys>>>>(
    what: &str,
    kept: &Fetched<Arc<ProviderKeys>>,
    now_s: u64,
    lacking: Option<&Arc<ProviderKeys>>,
    fetch: impl Fn() -> F,
) -> Result<Arc<ProviderKeys>, ProviderFailure> {
    let keys = kept.get(what, now_s, fetch()).await?;
    let newer = match lacking {
        Some(lacking) if Arc::ptr_eq(lacking, &keys) => {
            kept.newer(what, &keys, now_s, fetch()).await
        }
        _ => None,
    };
    Ok(Arc::clone(&newer.unwrap_or(keys)))
}

/// Keys as they are published. The control thread numbers them.
pub(super) fn snapshot(
    kept: &Fetched<Arc<ProviderKeys>>,
    keys: Arc<ProviderKeys>,
    issuer: &str,
    algorithms: &AllowedAlgorithms,
) -> TokenKeys {
    TokenKeys {
        issuer: issuer.into(),
        algorithms: algorithms.clone(),
        keys,
        fresh_until_s: kept.fresh_until_s(),
        forced_at_s: kept.forced_at_s(),
        is_away: kept.is_away(),
        serial: 0,
    }
}
