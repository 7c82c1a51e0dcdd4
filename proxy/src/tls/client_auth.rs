//! What the handshake asks clients for, by server name.
//!
//! In the policy modes a client is asked for a certificate only if a route of that host depends on
//! it. The certificates that a host asks for are its *scope*; hosts of one scope share a TLS
//! configuration, and a connection to one may carry requests for the other.

use std::{collections::HashMap, sync::Arc};

use super::{
    spec::{ClientAuthMode, ClientAuthSpec, RouteClientAuth},
    trust::ClientTrust,
};
use crate::route::HostMap;

/// The client authentication of each host; part of a snapshot. By default no client is asked.
#[derive(Debug)]
pub struct ClientAuth {
    hosts: HostMap<usize>,
    /// For names that match several patterns of different scopes.
    several: usize,
    /// For connections without a name, or with a name that no route serves.
    other: usize,
    /// At least one.
    scopes: Vec<ClientAuthProfile>,
    /// For each scope, the first equivalent one.
    alike: Vec<usize>,
}

/// What a handshake asks for.
#[derive(Debug, Clone)]
pub(super) enum ClientAuthProfile {
    /// Nothing.
    Open,
    /// A certificate, which is verified with each request.
    Request(CertificateRequest),
    /// A certificate that this verifies; otherwise the handshake fails.
    Require(Arc<ClientTrust>),
}

#[derive(Debug, Clone, Default)]
pub(super) struct CertificateRequest {
    /// The trusts that verify certificates, each once, in a fixed order; empty if a policy names
    /// certificates and no CA is configured.
    pub(super) trusts: Vec<Arc<ClientTrust>>,
    /// Every route of the host depends on the certificate.
    pub(super) always: bool,
}

impl Default for ClientAuth {
    fn default() -> Self {
        ClientAuth::uniform(ClientAuthProfile::Open)
    }
}

impl ClientAuth {
    /// Compiles what is configured.
    pub fn new(spec: &ClientAuthSpec) -> ClientAuth {
        match &spec.mode {
            ClientAuthMode::Require(trust) => {
                ClientAuth::uniform(ClientAuthProfile::Require(trust.clone()))
            }
            ClientAuthMode::Request { everywhere: false } => ClientAuth::where_needed(&spec.routes),
            ClientAuthMode::Request { everywhere: true } => {
                let mut all = Wanted::default();
                spec.routes.iter().for_each(|route| all.add_asked(route));
                ClientAuth::uniform(ClientAuthProfile::from(all))
            }
        }
    }

    /// Whether clients that name this server, normalised, are asked for a certificate.
    pub fn asks(&self, server_name: Option<&str>) -> bool {
        !matches!(self.scopes.get(self.scope(server_name)), None | Some(ClientAuthProfile::Open))
    }

    /// Whether a connection with this `server_name` was asked for everything that a connection to
    /// `host` is asked for; both are normalised by the same rule.
    ///
    /// A connection without a name, or with a name that no route serves, was asked for a
    /// certificate of any CA.
    pub fn covers(&self, server_name: Option<&str>, host: &str) -> bool {
        if server_name == Some(host) {
            return true;
        }
        let alike = |scope: usize| self.alike.get(scope);
        let asked = alike(self.scope(server_name));
        asked == alike(self.other) || asked == alike(self.scope(Some(host)))
    }

    pub(super) fn scopes(&self) -> &[ClientAuthProfile] {
        &self.scopes
    }

    /// The index in [`ClientAuth::scopes`].
    pub(super) fn scope(&self, server_name: Option<&str>) -> usize {
        if self.scopes.len() == 1 {
            return 0;
        }
        let mut found = server_name.into_iter().flat_map(|name| self.hosts.find(name).copied());
        match found.next() {
            None => self.other,
            Some(first) if found.all(|next| next == first) => first,
            Some(_) => self.several,
        }
    }

    fn uniform(scope: ClientAuthProfile) -> ClientAuth {
        let (scopes, alike) = (vec![scope], vec![0]);
        ClientAuth { hosts: HostMap::default(), several: 0, other: 0, scopes, alike }
    }

    fn where_needed(routes: &[RouteClientAuth]) -> ClientAuth {
        let mut hosts: HostMap<Wanted> = HostMap::default();
        let mut all = Wanted::default();
        for route in routes {
            hosts.entry(&route.host).add(route);
            if route.looks {
                all.add_asked(route);
            }
        }
        let mut several = Wanted::default();
        hosts.wildcards().for_each(|wanted| several.add_all(wanted));
        let mut scopes = ClientAuthProfiles::default();
        let other = scopes.place(all);
        let several = scopes.place(several);
        let hosts = hosts.map(|wanted| scopes.place(wanted));
        let ClientAuthProfiles { scopes, alike, .. } = scopes;
        ClientAuth { hosts, several, other, scopes, alike }
    }
}

/// The combined needs of a host's routes.
#[derive(Debug, Default)]
struct Wanted {
    asks: bool,
    /// Some route does not depend on it.
    mixed: bool,
    trusts: Vec<Arc<ClientTrust>>,
}

impl Wanted {
    fn add(&mut self, route: &RouteClientAuth) {
        if route.looks {
            self.asks = true;
            self.trusts.extend(route.trust.clone());
        } else {
            self.mixed = true;
        }
    }

    /// Adds what a route asks for, for connections that may turn out to be for another host.
    fn add_asked(&mut self, route: &RouteClientAuth) {
        self.mixed = true;
        self.asks |= route.looks || route.trust.is_some();
        self.trusts.extend(route.trust.clone());
    }

    fn add_all(&mut self, other: &Wanted) {
        self.mixed |= other.mixed || !other.asks;
        self.asks |= other.asks;
        self.trusts.extend(other.trusts.iter().cloned());
    }
}

impl From<Wanted> for ClientAuthProfile {
    fn from(wanted: Wanted) -> ClientAuthProfile {
        if !wanted.asks {
            return ClientAuthProfile::Open;
        }
        let mut trusts = wanted.trusts;
        trusts.sort_by_key(|trust| trust.digest());
        trusts.dedup_by_key(|trust| trust.digest());
        ClientAuthProfile::Request(CertificateRequest { trusts, always: !wanted.mixed })
    }
}

/// Each scope once.
#[derive(Default)]
struct ClientAuthProfiles {
    scopes: Vec<ClientAuthProfile>,
    /// For each scope, the first equivalent one.
    alike: Vec<usize>,
    places: HashMap<(Asked, bool), usize>,
    first_alike: HashMap<Asked, usize>,
}

/// The part of a scope that clients see: the digests of its trusts; `None` if it asks for nothing.
type Asked = Option<Vec<[u8; 32]>>;

impl ClientAuthProfiles {
    fn place(&mut self, wanted: Wanted) -> usize {
        let scope = ClientAuthProfile::from(wanted);
        let asked = scope.asked();
        let next = self.scopes.len();
        let place = *self.places.entry((asked.clone(), scope.is_always())).or_insert(next);
        if place == next {
            self.alike.push(*self.first_alike.entry(asked).or_insert(next));
            self.scopes.push(scope);
        }
        place
    }
}

impl ClientAuthProfile {
    fn is_always(&self) -> bool {
        matches!(self, ClientAuthProfile::Request(CertificateRequest { always: true, .. }))
    }

    fn asked(&self) -> Asked {
        match self {
            ClientAuthProfile::Open => None,
            ClientAuthProfile::Request(request) => {
                Some(request.trusts.iter().map(|trust| trust.digest()).collect())
            }
            ClientAuthProfile::Require(trust) => Some(vec![trust.digest()]),
        }
    }
}

#[cfg(test)]
mod tests;
