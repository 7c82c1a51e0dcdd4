//! The identity provider: its metadata and keys, and every call to it. For the control thread alone.

mod end_session;
mod fetched;
mod form;
mod http;
mod metadata;
mod person;
pub(crate) mod preset;
#[cfg(test)]
pub(in crate::identity) mod testing;
#[cfg(test)]
mod tests;
mod token_issuer;
mod tokens;
mod url;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use ::http::{HeaderValue, StatusCode};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Map, Value};

pub(crate) use end_session::EndSession;
pub(super) use metadata::ProviderMetadata;
pub(super) use person::Person;
pub(super) use token_issuer::TokenIssuer;
pub(super) use tokens::{TokenResponse, is_about_us};

use super::{
    bearer::keys::TokenKeys,
    calls::{CodeExchange, ProviderFailure},
    jose::{self, IdTokenClaims, IdTokenRules, LogoutToken, ProviderKeys, TokenError},
    session::ProviderId,
    shared::IdentityShared,
    spec::{ProviderClient, SignInSpec},
};
use crate::{
    observe::{IdentityMetrics, ProviderCallOutcome, ProviderEndpoint},
    upstream::DnsNames,
};
use fetched::{Fetched, Fresh};
use http::{HttpAnswer, HttpCall, HttpClient};
use url::ProviderUrl;

/// Seconds since 1970.
pub(super) type Clock = Rc<dyn Fn() -> u64>;

/// One configured provider, which all our clients have in common. A change of its settings makes a new
/// one.
pub(super) struct Provider {
    spec: RefCell<Arc<SignInSpec>>,
    http: HttpClient,
    metadata: Fetched<ProviderMetadata>,
    keys: Fetched<Arc<ProviderKeys>>,
    shared: Arc<IdentityShared>,
    metrics: Arc<IdentityMetrics>,
    clock: Clock,
    /// The note about groups is written once.
    has_noted_groups: Cell<bool>,
}

/// A sign-in that passed every check.
pub(super) struct VerifiedSignIn {
    pub(super) person: Person,
    /// Without what UserInfo added: a later UserInfo may no longer have it.
    pub(super) id_token: IdTokenClaims,
    pub(super) tokens: TokenResponse,
}

/// A logout token that passed every check but whether it was used before.
pub(super) struct NamedLogout {
    /// The client whose sessions it is about.
    pub(super) client: ProviderId,
    pub(super) token: LogoutToken,
    /// The user that it names.
    pub(super) user_id: Option<Box<str>>,
}

impl Provider {
    /// Calls nothing yet. The metadata is published to `shared` whenever it is fetched.
    pub(super) fn new(
        spec: Arc<SignInSpec>,
        names: Arc<DnsNames>,
        shared: Arc<IdentityShared>,
        metrics: Arc<IdentityMetrics>,
        clock: Clock,
    ) -> Provider {
        Provider {
            http: HttpClient::new(names, spec.anchors.clone()),
            spec: RefCell::new(spec),
            metadata: Fetched::default(),
            keys: Fetched::default(),
            shared,
            metrics,
            clock,
            has_noted_groups: Cell::default(),
        }
    }

    /// The settings.
    pub(super) fn spec(&self) -> Arc<SignInSpec> {
        Arc::clone(&self.spec.borrow())
    }

    /// Takes other settings, if this stays the same provider and the same client for all routes; gives
    /// back whether it does.
    pub(super) fn reconfigure(&self, spec: &Arc<SignInSpec>) -> bool {
        let mut current = self.spec.borrow_mut();
        let roots = |spec: &SignInSpec| spec.anchors.as_ref().map(|anchors| anchors.digest);
        let is_same = current.provider == spec.provider && roots(&current) == roots(spec);
        if is_same {
            *current = Arc::clone(spec);
        }
        is_same
    }

    /// The metadata, fetched if it is missing or old, and published to the workers.
    pub(super) async fn metadata(&self) -> Result<Rc<ProviderMetadata>, ProviderFailure> {
        let metadata = self.metadata.get("metadata", (self.clock)(), self.fetch_metadata()).await?;
        // Another provider's may have taken its place since.
        if self.shared.provider(metadata.view.id).as_deref() != Some(&metadata.view) {
            self.shared.set_provider(metadata.view.clone());
        }
        Ok(metadata)
    }

    /// The keys that bearer tokens are verified with. Those of a version that lacks a token's key are
    /// fetched again, at most once a minute.
    pub(super) async fn token_keys(
        &self,
        lacking: Option<&Arc<ProviderKeys>>,
    ) -> Result<TokenKeys, ProviderFailure> {
        let metadata = self.metadata().await?;
        let now_s = (self.clock)();
        let fetch = || self.fetch_keys(&metadata);
        let keys = token_issuer::current("keys", &self.keys, now_s, lacking, fetch).await?;
        let (issuer, algorithms) = (&metadata.view.issuer, &metadata.id_token_algorithms);
        Ok(token_issuer::snapshot(&self.keys, keys, issuer, algorithms))
    }

    /// Exchanges a code, and verifies all that comes of it.
    pub(super) async fn exchange(
        &self,
        exchange: &CodeExchange,
    ) -> Result<VerifiedSignIn, ProviderFailure> {
        let metadata = self.metadata().await?;
        let client = exchange.provider;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*exchange.code),
            ("redirect_uri", &*exchange.redirect_uri),
            ("code_verifier", &*exchange.verifier),
        ];
        let tokens = self.tokens(&metadata, client, &form).await?;
        let nonce = Some(&*exchange.nonce);
        let missing = || ProviderFailure::Invalid("the token endpoint gave no ID token".to_owned());
        let id_token =
            self.id_token(&metadata, client, &tokens, nonce).await?.ok_or_else(missing)?;
        let person = match self.person(client, &id_token, &tokens.access_token).await {
            Ok(person) => person,
            Err(PersonFailure::OtherSubject) => {
                let why = "UserInfo is about another user than the ID token".to_owned();
                return Err(ProviderFailure::Invalid(why));
            }
            Err(PersonFailure::Provider(failure)) => return Err(failure),
        };
        Ok(VerifiedSignIn { person, id_token, tokens })
    }

    /// Asks for new tokens. The answer may hold a refresh token that takes the place of this one.
    pub(super) async fn refresh(
        &self,
        client: ProviderId,
        refresh_token: &str,
    ) -> Result<TokenResponse, ProviderFailure> {
        let metadata = self.metadata().await?;
        let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
        self.tokens(&metadata, client, &form).await
    }

    /// The ID token that came with a refresh, if one came. It must be about the same subject (OpenID
    /// Connect Core, section 12.2).
    pub(super) async fn refreshed_id_token(
        &self,
        client: ProviderId,
        tokens: &TokenResponse,
        subject: &str,
    ) -> Result<Option<IdTokenClaims>, PersonFailure> {
        let metadata = self.metadata().await?;
        let id_token = self.id_token(&metadata, client, tokens, None).await?;
        match id_token {
            Some(other) if *other.subject != *subject => Err(PersonFailure::OtherSubject),
            id_token => Ok(id_token),
        }
    }

    /// Who somebody is by an ID token's claims and by UserInfo, where the provider has that.
    pub(super) async fn person(
        &self,
        client: ProviderId,
        id_token: &IdTokenClaims,
        access_token: &str,
    ) -> Result<Person, PersonFailure> {
        let metadata = self.metadata().await?;
        let mut claims = id_token.clone();
        if let Some(endpoint) = &metadata.userinfo_endpoint {
            let user_info = self.user_info((&metadata, endpoint), client, access_token);
            let user_info = self.counted(ProviderEndpoint::Userinfo, user_info).await?;
            if user_info.get("sub").and_then(Value::as_str) != Some(&claims.subject) {
                return Err(PersonFailure::OtherSubject);
            }
            jose::merge_user_info(&mut claims, user_info).map_err(token_failure)?;
        }
        let person = Person::new(&claims.claims, self.spec().claim_rules());
        if person.lacks_groups && !self.has_noted_groups.replace(true) {
            tracing::warn!(
                "the identity provider leaves the groups of some users out of their tokens because \
                 they are in too many; policies on `groups` do not match these users. In Azure, \
                 assign groups to the application and emit only those"
            );
        }
        Ok(person)
    }

    /// Verifies a logout token, and says which client it is for, and which user it names, if it names
    /// one.
    pub(super) async fn logout_token(&self, token: &str) -> Result<NamedLogout, ProviderFailure> {
        let metadata = self.metadata().await?;
        let spec = self.spec();
        // Only one of our clients can verify it; without one, the log says why the main one did not.
        let addressed = spec.clients().find(|client| jose::is_for(token, client.client_id));
        let client = addressed.unwrap_or(spec.main_client());
        let rules = rules(&spec, &metadata, client);
        let now_s = (self.clock)();
        let verify = |keys: &ProviderKeys| jose::verify_logout_token(token, &rules, keys, now_s);
        let verified = self.with_keys(&metadata, verify).await?;
        let has_user = verified.subject.is_some();
        let user_id = has_user.then(|| person::user_id(&verified.claims, spec.provider.preset));
        let user_id = user_id.map(Into::into);
        Ok(NamedLogout { client: client.provider, token: verified, user_id })
    }

    /// Revokes a refresh token (RFC 7009), if the provider can.
    pub(super) async fn revoke(
        &self,
        client: ProviderId,
        refresh_token: &str,
    ) -> Result<(), ProviderFailure> {
        let metadata = self.metadata().await?;
        let Some(endpoint) = &metadata.revocation_endpoint else { return Ok(()) };
        let form = [("token", refresh_token), ("token_type_hint", "refresh_token")];
        let revoke = async {
            let call = self.authenticated((&metadata, endpoint), client, &form)?;
            let answer = self.http.call(call).await?;
            match answer.status.is_success() {
                true => Ok(()),
                false => Err(tokens::status_failure(answer.status)),
            }
        };
        self.counted(ProviderEndpoint::Revocation, revoke).await
    }

    async fn tokens(
        &self,
        metadata: &ProviderMetadata,
        client: ProviderId,
        form: &[(&str, &str)],
    ) -> Result<TokenResponse, ProviderFailure> {
        let call = self.authenticated((metadata, &metadata.token_endpoint), client, form)?;
        let tokens = async {
            let answer = self.http.call(call).await?;
            tokens::parse(answer.status, &answer.body)
        };
        self.counted(ProviderEndpoint::Token, tokens).await
    }

    async fn id_token(
        &self,
        metadata: &ProviderMetadata,
        client: ProviderId,
        tokens: &TokenResponse,
        nonce: Option<&str>,
    ) -> Result<Option<IdTokenClaims>, ProviderFailure> {
        let Some(token) = &tokens.id_token else { return Ok(None) };
        let spec = self.spec();
        let rules = IdTokenRules {
            nonce,
            access_token: Some(&tokens.access_token),
            ..rules(&spec, metadata, configured(&spec, client)?)
        };
        let now_s = (self.clock)();
        let verify = |keys: &ProviderKeys| jose::verify_id_token(token, &rules, keys, now_s);
        self.with_keys(metadata, verify).await.map(Some)
    }

    async fn user_info(
        &self,
        (metadata, url): (&ProviderMetadata, &ProviderUrl),
        client: ProviderId,
        access_token: &str,
    ) -> Result<Map<String, Value>, ProviderFailure> {
        let bearer = HeaderValue::try_from(format!("Bearer {access_token}"));
        let authorization = bearer.map_err(|_| {
            ProviderFailure::Invalid("its access token does not fit into a header".to_owned())
        })?;
        let call = HttpCall { url, authorization: Some(authorization), form: None };
        let HttpAnswer { status, body, .. } = self.http.call(call).await?;
        if status != StatusCode::OK {
            return Err(tokens::status_failure(status));
        }
        if body.trim_ascii_start().starts_with(b"{") {
            return jose::parse_user_info(&body).map_err(token_failure);
        }
        let token = std::str::from_utf8(body.trim_ascii()).map_err(|_| {
            ProviderFailure::Invalid("UserInfo is neither JSON nor a signed token".to_owned())
        })?;
        let spec = self.spec();
        let algorithms = &metadata.userinfo_algorithms;
        let client = configured(&spec, client)?;
        let rules = IdTokenRules { algorithms, ..rules(&spec, metadata, client) };
        let now_s = (self.clock)();
        let verify = |keys: &ProviderKeys| jose::verify_user_info_jws(token, &rules, keys, now_s);
        self.with_keys(metadata, verify).await
    }

    /// Verifies by the kept keys, and once more by new ones if none of the kept fits.
    async fn with_keys<T>(
        &self,
        metadata: &ProviderMetadata,
        verify: impl Fn(&ProviderKeys) -> Result<T, TokenError>,
    ) -> Result<T, ProviderFailure> {
        let now_s = (self.clock)();
        let keys = self.keys.get("keys", now_s, self.fetch_keys(metadata)).await?;
        let verified = match verify(&keys) {
            Err(TokenError::UnknownKid) => {
                let newer = self.keys.newer("keys", &keys, now_s, self.fetch_keys(metadata)).await;
                newer.map_or(Err(TokenError::UnknownKid), |newer| verify(&newer))
            }
            verified => verified,
        };
        verified.map_err(token_failure)
    }

    async fn fetch_metadata(&self) -> Fresh<ProviderMetadata> {
        let fetch = async {
            let spec = self.spec();
            let url = metadata::discovery_url(&spec.provider)?;
            let answer = self.get(&url).await?;
            let metadata = metadata::parse(&answer.body, &spec.provider)?;
            Ok((metadata, answer.max_age))
        };
        self.counted(ProviderEndpoint::Metadata, fetch).await
    }

    async fn fetch_keys(&self, metadata: &ProviderMetadata) -> Fresh<Arc<ProviderKeys>> {
        let fetch = async {
            let answer = self.get(&metadata.jwks_uri).await?;
            let keys = ProviderKeys::parse(&answer.body)
                .map_err(|error| ProviderFailure::Invalid(error.to_string()))?;
            Ok((Arc::new(keys), answer.max_age))
        };
        self.counted(ProviderEndpoint::Jwks, fetch).await
    }

    async fn get(&self, url: &ProviderUrl) -> Result<HttpAnswer, ProviderFailure> {
        get(&self.http, url).await
    }

    /// Our client's credentials: both parts are form-encoded before Basic joins them (RFC 6749,
    /// section 2.3.1).
    fn authenticated<'a>(
        &self,
        (metadata, url): (&ProviderMetadata, &'a ProviderUrl),
        client: ProviderId,
        form: &[(&str, &str)],
    ) -> Result<HttpCall<'a>, ProviderFailure> {
        let spec = self.spec();
        let ProviderClient { client_id: id, client_secret, .. } = configured(&spec, client)?;
        let mut form = form.to_vec();
        let mut authorization = None;
        match client_secret {
            None => form.push(("client_id", id)),
            Some(secret) if metadata.secret_in_form => {
                form.extend([("client_id", id), ("client_secret", &*secret.0)]);
            }
            Some(secret) => {
                let (id, secret) = (form::encode_value(id), form::encode_value(&secret.0));
                let basic = BASE64_STANDARD.encode(format!("{id}:{secret}"));
                authorization = HeaderValue::try_from(format!("Basic {basic}")).ok();
            }
        }
        Ok(HttpCall { url, authorization, form: Some(form::encode(&form)) })
    }

    async fn counted<T>(
        &self,
        endpoint: ProviderEndpoint,
        call: impl Future<Output = Result<T, ProviderFailure>>,
    ) -> Result<T, ProviderFailure> {
        let mut counted = CountedCall {
            metrics: &self.metrics,
            endpoint,
            outcome: ProviderCallOutcome::Unavailable,
        };
        let result = call.await;
        counted.outcome = match &result {
            Ok(_) => ProviderCallOutcome::Ok,
            Err(ProviderFailure::Refused { .. }) => ProviderCallOutcome::Refused,
            Err(ProviderFailure::Away(_)) => ProviderCallOutcome::Unavailable,
            Err(_) => ProviderCallOutcome::Invalid,
        };
        result
    }
}

/// Counts a call when it ends, also one that is given up because all calls of a sign-in together took
/// too long.
struct CountedCall<'a> {
    metrics: &'a IdentityMetrics,
    endpoint: ProviderEndpoint,
    outcome: ProviderCallOutcome,
}

impl Drop for CountedCall<'_> {
    fn drop(&mut self) {
        self.metrics.called(self.endpoint, self.outcome);
    }
}

/// Why nobody could be made out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PersonFailure {
    /// The provider speaks of another user than before.
    OtherSubject,
    Provider(ProviderFailure),
}

impl PersonFailure {
    /// Whether the session's user is no longer welcome. A refusal that is about our client or our
    /// request says nothing about the user.
    pub(super) fn ends_session(&self) -> bool {
        match self {
            PersonFailure::OtherSubject => true,
            PersonFailure::Provider(ProviderFailure::Refused { error }) => !is_about_us(error),
            PersonFailure::Provider(_) => false,
        }
    }
}

impl std::fmt::Display for PersonFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PersonFailure::OtherSubject => {
                f.write_str("the identity provider speaks of another user than before")
            }
            PersonFailure::Provider(failure) => failure.fmt(f),
        }
    }
}

impl From<ProviderFailure> for PersonFailure {
    fn from(failure: ProviderFailure) -> PersonFailure {
        PersonFailure::Provider(failure)
    }
}

/// Fetches what must be there.
async fn get(http: &HttpClient, url: &ProviderUrl) -> Result<HttpAnswer, ProviderFailure> {
    let answer = http.call(HttpCall { url, authorization: None, form: None }).await?;
    match answer.status {
        StatusCode::OK => Ok(answer),
        status => {
            let status = status.as_u16();
            Err(ProviderFailure::Invalid(format!("{} answered {status}", url.text)))
        }
    }
}

/// A client that a reload has not taken away since.
fn configured(
    spec: &SignInSpec,
    client: ProviderId,
) -> Result<ProviderClient<'_>, ProviderFailure> {
    let gone = || ProviderFailure::Away("the route's client is not configured any more".to_owned());
    spec.client(client).ok_or_else(gone)
}

fn rules<'a>(
    spec: &'a SignInSpec,
    metadata: &'a ProviderMetadata,
    client: ProviderClient<'a>,
) -> IdTokenRules<'a> {
    IdTokenRules {
        issuer: &metadata.view.issuer,
        client_id: client.client_id,
        algorithms: &metadata.id_token_algorithms,
        nonce: None,
        access_token: None,
        tenants: &spec.provider.tenants,
    }
}

fn token_failure(error: TokenError) -> ProviderFailure {
    match error {
        TokenError::Clock { provider_s, our_s } => ProviderFailure::Clock { provider_s, our_s },
        error => ProviderFailure::Invalid(error.to_string()),
    }
}
