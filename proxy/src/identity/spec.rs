//! The settings of this room.

use std::{net::IpAddr, path::Path, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    bearer::spec::{ClaimRules, TokenSpec},
    provider_tokens::WantedTokens,
    session::ProviderId,
};
use crate::{digest::Digest, route::HostMatch, tls::TrustAnchors};

/// Everything the configuration says about identity.
#[derive(Debug, Clone)]
pub(crate) struct IdentitySpec {
    /// How people sign in; `None` if no identity provider is configured.
    pub sign_in: Option<Arc<SignInSpec>>,
    /// `shared_secret`: seals requests, states and handovers, and is the seed of the derived signing
    /// key. `None` means one that is random for this process.
    pub shared_secret: Option<SealSecret>,
    /// `signing_key`, PEM already decoded: the first signs, all are published. Empty means the key
    /// that is derived from the shared secret.
    pub signing_keys: Arc<[super::jose::SigningKey]>,
    /// `jwt_claims_headers`: the header, and the claim it carries.
    pub claim_headers: Arc<[(HeaderName, Box<str>)]>,
    /// What holds for the bearer tokens of all routes.
    pub tokens: Arc<TokenSpec>,
}

#[cfg(test)]
impl IdentitySpec {
    /// Nobody can sign in.
    pub(crate) fn none() -> IdentitySpec {
        IdentitySpec {
            sign_in: None,
            shared_secret: None,
            signing_keys: Arc::default(),
            claim_headers: Arc::default(),
            tokens: Arc::new(TokenSpec::none()),
        }
    }
}

/// How people sign in.
#[derive(Debug, Clone)]
pub(crate) struct SignInSpec {
    /// `authenticate_service_url`: the host that the provider sends people back to.
    pub authenticate: AuthenticateUrl,
    /// The provider and our client there.
    pub provider: ProviderSpec,
    /// `idp_client_id` of routes: further clients of the same provider, each once.
    pub route_clients: Arc<[RouteClient]>,
    /// The hosts of all routes, each once for each client, if upstreams of any of them get tokens of the
    /// provider.
    pub token_hosts: Arc<[TokenHost]>,
    /// Verify the provider's TLS certificate: the system's roots and `certificate_authority`.
    /// `None` if there are none; then only a provider on loopback can be called.
    pub anchors: Option<Arc<TrustAnchors>>,
    /// The cookies.
    pub cookies: CookieSpec,
    /// `cookie_secret`; `None` derives it from the shared secret.
    pub cookie_secret: Option<SealSecret>,
    /// `portcullis.sign_in.previous_secrets`: open, never seal.
    pub previous_secrets: Vec<SealSecret>,
    /// How often the provider is asked whether a user may stay signed in.
    pub recheck: Duration,
    /// When a session ends for which the provider gave no refresh token.
    pub without_refresh_token: WithoutRefreshToken,
    /// What an address that the provider did not verify counts as.
    pub unverified_email: UnverifiedEmail,
    /// The claims that sessions keep, sorted, each once: those of policies, of
    /// `jwt_claims_headers`, `groups`, and `portcullis.sign_in.claims`.
    pub kept_claims: Arc<[Box<str>]>,
    /// `signout_redirect_url`, absolute.
    pub signout_redirect_url: Option<Box<str>>,
    /// `programmatic_redirect_domain_whitelist`, in the form of [`crate::hostname`]: the hosts at which
    /// programs may take tokens. `localhost` stands for every loopback address too.
    pub program_hosts: Box<[Box<str>]>,
    /// `portcullis.sign_in.state_file`: where ended sessions and refresh tokens are kept over restarts.
    pub state_file: Option<Arc<Path>>,
    /// The ports we listen on: a return URL may have no other.
    pub listen_ports: Vec<u16>,
}

impl SignInSpec {
    /// What makes a person of the provider's claims.
    pub(crate) fn claim_rules(&self) -> ClaimRules<'_> {
        ClaimRules {
            preset: self.provider.preset,
            unverified_email: self.unverified_email,
            kept_claims: &self.kept_claims,
        }
    }

    /// Our clients at the provider: that of all routes, then those of single routes.
    pub(crate) fn clients(&self) -> impl Iterator<Item = ProviderClient<'_>> {
        let of_routes = self.route_clients.iter().map(|client| ProviderClient {
            provider: client.provider,
            client_id: &client.client_id,
            client_secret: Some(&client.client_secret),
        });
        std::iter::once(self.main_client()).chain(of_routes)
    }

    /// The client of all routes that have none of their own.
    pub(crate) fn main_client(&self) -> ProviderClient<'_> {
        let ProviderSpec { client_id, client_secret, .. } = &self.provider;
        let provider = self.provider.id();
        ProviderClient { provider, client_id, client_secret: client_secret.as_ref() }
    }

    /// One of our clients.
    pub(crate) fn client(&self, provider: ProviderId) -> Option<ProviderClient<'_>> {
        self.clients().find(|client| client.provider == provider)
    }

    /// The tokens that upstreams of any host get of the sessions of a client.
    pub(crate) fn wanted_tokens(&self, provider: ProviderId) -> WantedTokens {
        let of_client = self.token_hosts.iter().filter(|it| it.provider == provider);
        of_client.fold(WantedTokens::default(), |all, it| all.or(it.tokens))
    }

    /// A digest of the list of claims that sessions keep.
    pub(crate) fn claims_digest(&self) -> [u8; 8] {
        digest(self.kept_claims.iter().map(|claim| &**claim))
    }
}

impl ProviderSpec {
    /// Tells sessions of this provider and client from all others.
    pub(crate) fn id(&self) -> ProviderId {
        client_provider_id(&self.issuer_url, &self.client_id)
    }
}

/// Tells sessions of a client of a provider from all others.
pub(crate) fn client_provider_id(issuer_url: &str, client_id: &str) -> ProviderId {
    ProviderId(digest([issuer_url, client_id]))
}

/// The first bytes of a SHA-256 over texts.
fn digest<'a, const N: usize>(texts: impl IntoIterator<Item = &'a str>) -> [u8; N] {
    let mut digest = Digest::default();
    texts.into_iter().for_each(|text| digest.field(text.as_bytes()));
    let mut first = [0; N];
    first.iter_mut().zip(digest.finish()).for_each(|(to, from)| *to = from);
    first
}

/// `authenticate_service_url`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthenticateUrl {
    /// In the form of [`crate::hostname`].
    pub host: Box<str>,
    /// 443 if the URL has none.
    pub port: u16,
}

impl AuthenticateUrl {
    /// `https://host` or `https://host:port`, without a slash at the end.
    pub(crate) fn origin(&self) -> String {
        origin(&self.host, self.port)
    }
}

/// `https://host[:port]`: an IPv6 address gets brackets, port 443 is left out.
pub(crate) fn origin(host: &str, port: u16) -> String {
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    match port {
        443 => format!("https://{open}{host}{close}"),
        _ => format!("https://{open}{host}{close}:{port}"),
    }
}

/// A host at which people are signed in too (`depends_on`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DependentHost {
    /// In the form of [`crate::hostname`].
    pub host: Box<str>,
    /// 443 if the configuration names none.
    pub port: u16,
}

/// Another client of the provider, for the users of single routes. Its sessions are apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteClient {
    /// Tells its sessions from all others.
    pub provider: ProviderId,
    /// `idp_client_id` of the routes.
    pub client_id: Box<str>,
    /// `idp_client_secret` of the routes.
    pub client_secret: ClientSecret,
}

/// One of our clients at the provider (RFC 6749, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProviderClient<'a> {
    /// Tells its sessions from all others.
    pub(crate) provider: ProviderId,
    pub(crate) client_id: &'a str,
    /// `None` is a public client.
    pub(crate) client_secret: Option<&'a ClientSecret>,
}

/// The tokens of the provider that the upstreams of a host get.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TokenHost {
    pub host: HostMatch,
    /// The client of the host's routes.
    pub provider: ProviderId,
    pub tokens: WantedTokens,
}

/// The most hosts that one route may depend on.
pub(crate) const MAX_DEPENDENT_HOSTS: usize = 5;

/// The identity provider and our client there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProviderSpec {
    /// `idp_provider`.
    pub preset: ProviderPreset,
    /// The issuer's URL, without a slash at the end unless the configuration has it.
    pub issuer_url: Box<str>,
    /// `idp_client_id`.
    pub client_id: Box<str>,
    /// `idp_client_secret`; `None` is a public client.
    pub client_secret: Option<ClientSecret>,
    /// `idp_scopes`, or the preset's; `openid` is among them.
    pub scopes: Vec<Box<str>>,
    /// `idp_request_params`, or the preset's.
    pub request_params: Vec<(Box<str>, Box<str>)>,
    /// `portcullis.sign_in.tenants`: the `tid` that are let in.
    pub tenants: Vec<Box<str>>,
}

/// `idp_provider`: what differs from plain OpenID Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ProviderPreset {
    /// `oidc`: nothing.
    Oidc,
    /// `google`
    Google,
    /// `azure`: `oid` identifies users before `sub`.
    Azure,
    /// `okta`
    Okta,
    /// `auth0`
    Auth0,
    /// `onelogin`
    OneLogin,
    /// `ping`: `mail` if there is no `email`.
    Ping,
    /// `cognito`
    Cognito,
    /// `gitlab`
    GitLab,
}

/// Names and attributes of the cookies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieSpec {
    /// `cookie_name`.
    pub name: Box<str>,
    /// `cookie_domain`, in the form of [`crate::hostname`].
    pub domain: Option<Box<str>>,
    /// `cookie_http_only`.
    pub http_only: bool,
    /// `cookie_expire`: how long a session lives from its sign-in.
    pub expire: Duration,
    /// `cookie_same_site`.
    pub same_site: SameSite,
}

/// `cookie_same_site` (6265bis section 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SameSite {
    /// No attribute is written.
    #[default]
    Unset,
    /// `Strict`
    Strict,
    /// `Lax`
    Lax,
    /// `None`
    None,
}

/// When a session ends for which the provider gave no refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutRefreshToken {
    /// When the access token ends.
    AccessToken,
    /// After `cookie_expire`.
    CookieExpire,
}

/// What an address with `email_verified: false` counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UnverifiedEmail {
    /// As no address.
    Ignore,
    /// As any other.
    Accept,
}

/// The `iss` of assertions (`jwt_issuer_format`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IssuerFormat {
    /// `hostOnly`: `host`.
    #[default]
    HostOnly,
    /// `uri`: `https://host/`.
    Uri,
}

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SealSecret(pub [u8; 32]);

/// The secret of our client at the provider.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientSecret(pub Box<str>);

impl std::fmt::Debug for SealSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealSecret(..)")
    }
}

impl std::fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClientSecret(..)")
    }
}

/// An address, or the network that counts as one: IPv6 clients by /64.
pub(crate) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            IpAddr::V6(octets.into())
        }
        v4 => v4,
    }
}
