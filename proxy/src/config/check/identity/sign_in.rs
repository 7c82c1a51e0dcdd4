//! How people sign in: the parts together, and `portcullis.sign_in`.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    super::super::{model::RouteConfig, section::Section},
    Surroundings, authenticate, cookies, programs, provider, route_clients, secrets,
};
use crate::identity::{
    bearer::spec::TokenSpec,
    spec::{SignInSpec, UnverifiedEmail, WithoutRefreshToken},
};

/// The claim that assertions always have.
const GROUPS: &str = "groups";

/// Reads everything; `None` without a provider, or after a reported error.
pub(super) fn sign_in(
    root: &Section<'_>,
    own: &Section<'_>,
    around: &Surroundings<'_>,
    claim_headers: &[(HeaderName, Box<str>)],
    common: &CommonSettings,
) -> Option<SignInSpec> {
    let section = own.child_or_empty("sign_in");
    let provider = provider::provider(root, &section);
    let is_configured = provider::is_configured(root);
    let authenticate = authenticate::authenticate(root, is_configured);
    let cookies = cookies::cookies(root);
    let cookie_secret = secrets::cookie(root);
    let previous_secrets = secrets::previous(&section);
    let without_refresh_token = without_refresh_token(&section);
    let signout_redirect_url = signout_redirect_url(root);
    let program_hosts = programs::hosts(root);
    let state_file = state_file(root, &section);
    let (provider, authenticate) = (provider?, authenticate?);
    if !is_configured {
        return None;
    }
    authenticate::check_certificate(root, &authenticate, around.tls);
    if let Some(domain) = &cookies.domain {
        let hosts = signed_in(around.routes).map(|route| &route.matcher.host);
        cookies::warn_of_hosts_outside(root, domain, &authenticate, hosts);
    }
    let is_over_tls = provider::is_over_tls(&provider);
    let anchors = is_over_tls.then(|| around.trust.default_anchors(root, "idp_provider_url"));
    Some(SignInSpec {
        authenticate,
        route_clients: around.clients.found(),
        token_hosts: route_clients::token_hosts(around.routes, provider.id()),
        provider,
        anchors: anchors.flatten(),
        cookies,
        cookie_secret,
        previous_secrets,
        recheck: common.recheck,
        without_refresh_token,
        unverified_email: common.unverified_email,
        kept_claims: kept_claims(around.routes, claim_headers, &common.more_claims),
        signout_redirect_url,
        program_hosts,
        state_file,
        listen_ports: listen_ports(around),
    })
}

/// The settings of `portcullis.sign_in` that bearer tokens have too.
pub(super) struct CommonSettings {
    recheck: Duration,
    unverified_email: UnverifiedEmail,
    more_claims: Vec<String>,
}

impl CommonSettings {
    /// Reads them.
    pub(super) fn new(own: &Section<'_>) -> CommonSettings {
        let section = own.child_or_empty("sign_in");
        CommonSettings {
            recheck: recheck(&section),
            unverified_email: unverified_email(&section),
            more_claims: section.list("claims"),
        }
    }

    /// What holds for bearer tokens.
    pub(super) fn tokens(
        &self,
        around: &Surroundings<'_>,
        claim_headers: &[(HeaderName, Box<str>)],
    ) -> TokenSpec {
        TokenSpec {
            issuers: around.bearer.issuers().to_vec(),
            kept_claims: kept_claims(around.routes, claim_headers, &self.more_claims),
            unverified_email: self.unverified_email,
            recheck: self.recheck,
        }
    }
}

/// The routes that people sign in for.
fn signed_in(routes: &[RouteConfig]) -> impl Iterator<Item = &RouteConfig> {
    routes.iter().filter(|route| route.http.policy.needs().identity)
}

/// The claims that something of the configuration reads, sorted, each once.
fn kept_claims(
    routes: &[RouteConfig],
    claim_headers: &[(HeaderName, Box<str>)],
    more: &[String],
) -> Arc<[Box<str>]> {
    let of_policies = signed_in(routes).flat_map(|route| route.http.policy.claims_used());
    let of_headers = claim_headers.iter().map(|(_, claim)| &**claim);
    let more = more.iter().map(String::as_str);
    let all = of_policies.chain(of_headers).chain(more).chain([GROUPS]);
    let sorted: BTreeSet<&str> = all.filter(|claim| !claim.is_empty()).collect();
    sorted.into_iter().map(Box::from).collect()
}

fn listen_ports(around: &Surroundings<'_>) -> Vec<u16> {
    let ports: BTreeSet<u16> = around.listen.addresses.iter().map(|it| it.port()).collect();
    ports.into_iter().collect()
}

/// `portcullis.sign_in.recheck`.
fn recheck(section: &Section<'_>) -> Duration {
    let key = "recheck";
    let recheck = section.duration(key).unwrap_or(Duration::from_secs(600));
    if recheck < Duration::from_secs(1) {
        section.error_with_hint(key, "must be at least one second", "1m or longer");
    } else if recheck < Duration::from_secs(60) {
        section.warn(key, "is below one minute: the provider is asked often, which is for tests");
    }
    recheck
}

fn without_refresh_token(section: &Section<'_>) -> WithoutRefreshToken {
    let choices = [
        ("ACCESS_TOKEN", WithoutRefreshToken::AccessToken),
        ("COOKIE_EXPIRE", WithoutRefreshToken::CookieExpire),
    ];
    let choice = section.choice("without_refresh_token", &choices);
    choice.unwrap_or(WithoutRefreshToken::AccessToken)
}

fn unverified_email(section: &Section<'_>) -> UnverifiedEmail {
    let choices = [("IGNORE", UnverifiedEmail::Ignore), ("ACCEPT", UnverifiedEmail::Accept)];
    section.choice("unverified_email", &choices).unwrap_or(UnverifiedEmail::Ignore)
}

/// `portcullis.sign_in.state_file`. It opens where the cookies open.
fn state_file(root: &Section<'_>, section: &Section<'_>) -> Option<Arc<Path>> {
    let key = "state_file";
    let path = section.text(key).filter(|path| !path.is_empty())?;
    if !secrets::is_shared_given(root) && !secrets::is_cookie_given(root) {
        let message = "is of no use: the next process cannot open it, because each start makes a \
            random secret";
        section.warn_with_hint(key, message, "set shared_secret or cookie_secret");
    }
    Some(Path::new(&*path).into())
}

/// `signout_redirect_url`, which may have a query.
fn signout_redirect_url(root: &Section<'_>) -> Option<Box<str>> {
    let key = "signout_redirect_url";
    let text = root.text(key)?;
    let is_graphic = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = text.parse::<http::Uri>().ok().filter(|_| is_graphic);
    let is_absolute = url.is_some_and(|url| {
        let has_user = url.authority().is_some_and(|authority| authority.as_str().contains('@'));
        let has_host = url.host().is_some_and(|host| !host.is_empty());
        matches!(url.scheme_str(), Some("https" | "http")) && has_host && !has_user
    });
    if !is_absolute {
        let hint = "write https://www.example.com/bye";
        root.error_with_hint(key, "is not an absolute http or https URL", hint);
        return None;
    }
    Some(text.into())
}
