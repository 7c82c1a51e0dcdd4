//! `idp_client_id` and `idp_client_secret` of routes: another client of the same provider.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
};

use super::{
    super::super::{model::RouteConfig, section::Section},
    provider,
};
use crate::{
    http::RouteSpec,
    identity::{
        session::ProviderId,
        spec::{ClientSecret, RouteClient, TokenHost, client_provider_id},
    },
    route::HostMatch,
};

const ID: &str = "idp_client_id";
const SECRET: &str = "idp_client_secret";

/// The clients of all routes, and the global one that they differ from.
#[derive(Debug, Default)]
pub(in super::super) struct RouteClients {
    sign_in: bool,
    issuer_url: Option<Box<str>>,
    global_id: Option<String>,
    found: RefCell<HashMap<Box<str>, FoundClient>>,
}

#[derive(Debug)]
struct FoundClient {
    secret: Box<str>,
    /// The path of the section that names it first.
    first: Box<str>,
}

impl RouteClients {
    /// Reads the global keys. Their mistakes are reported elsewhere.
    pub(in super::super) fn new(root: &Section<'_>) -> RouteClients {
        RouteClients {
            sign_in: provider::is_configured(root),
            issuer_url: provider::unchecked_issuer_url(root),
            global_id: root.text(ID),
            found: RefCell::default(),
        }
    }

    /// The `idp_client_id` of a route; `None` if its users sign in with the global client.
    pub(in super::super) fn id_of_route(&self, section: &Section<'_>) -> Option<String> {
        let (id, secret) = (section.text(ID), section.text(SECRET));
        let (id, secret) = match (id, secret) {
            (None, None) => return None,
            (Some(_), None) => {
                let hint = "both belong to the client that the provider knows";
                section.error_with_hint(SECRET, "is missing beside idp_client_id", hint);
                return None;
            }
            (None, Some(_)) => {
                let hint = "both belong to the client that the provider knows";
                section.error_with_hint(ID, "is missing beside idp_client_secret", hint);
                return None;
            }
            (Some(id), Some(secret)) => (id, secret),
        };
        if !self.sign_in {
            section.warn(ID, "has no effect: nobody can sign in, because there is no idp_provider");
            return None;
        }
        if self.global_id.as_ref() == Some(&id) {
            let message = "is the global client, whose secret counts";
            section.warn_with_hint(ID, message, "remove both keys here");
            return None;
        }
        match self.found.borrow_mut().entry(id.as_str().into()) {
            Entry::Occupied(known) if *known.get().secret != *secret => {
                let first = section.context().place(&known.get().first);
                section.error(SECRET, format!("{first} has another secret for this client"));
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(new) => {
                new.insert(FoundClient { secret: secret.into(), first: section.path().into() });
            }
        }
        Some(id)
    }

    /// What sessions of a client are told apart by.
    pub(in super::super) fn provider(&self, id: &str) -> Option<ProviderId> {
        self.issuer_url.as_deref().map(|issuer_url| client_provider_id(issuer_url, id))
    }

    /// Warns about a client whose users never sign in.
    pub(in super::super) fn warn_of_no_user(&self, section: &Section<'_>, route: &RouteSpec) {
        if route.client.is_some() && !route.looks_at_identity() {
            section.warn(ID, "has no effect: the route does not depend on the user");
        }
    }

    /// All of them, each once.
    pub(super) fn found(&self) -> Arc<[RouteClient]> {
        let found = self.found.borrow();
        let clients = found.iter().filter_map(|(id, FoundClient { secret, .. })| {
            Some(RouteClient {
                provider: self.provider(id)?,
                client_id: id.clone(),
                client_secret: ClientSecret(secret.clone()),
            })
        });
        let mut clients: Vec<RouteClient> = clients.collect();
        clients.sort_unstable_by(|one, other| one.client_id.cmp(&other.client_id));
        clients.into()
    }
}

/// The hosts of all routes with the tokens of the provider that their upstreams get; empty if none get
/// any.
pub(super) fn token_hosts(routes: &[RouteConfig], global: ProviderId) -> Arc<[TokenHost]> {
    if !routes.iter().any(|route| route.http.wanted_tokens().any()) {
        return Arc::default();
    }
    let mut seen = HashSet::new();
    let hosts = routes.iter().filter_map(|route| {
        let host = &route.matcher.host;
        let tokens = route.http.wanted_tokens();
        let text = match host {
            HostMatch::Exact(host) => &**host,
            HostMatch::Wildcard(wildcard) => &*wildcard.pattern,
        };
        let provider = route.http.client.unwrap_or(global);
        // A host without any hides the patterns that it matches.
        let is_new = seen.insert((text, provider.0, tokens.access, tokens.id));
        is_new.then(|| TokenHost { host: host.clone(), provider, tokens })
    });
    hosts.collect()
}
