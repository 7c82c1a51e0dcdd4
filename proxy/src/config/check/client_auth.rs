//! Client certificates: the CAs that verify them, the hosts that ask for them, and the users that
//! they identify.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use super::{
    super::{model::RouteConfig, section::Section},
    leaf_rules::LeafRules,
    material::{Materials, contradiction, of_client_cas},
};
use crate::{
    policy::SanKind,
    tls::{
        ClientAuthMode, ClientAuthSpec, ClientTrust, ClientTrustSpec, CrlStore, MAX_VERIFY_DEPTH,
        RouteClientAuth, TrustAnchors,
    },
};

/// `downstream_mtls`, the older `client_ca` and `client_ca_file`, and the keys of our own section.
pub(super) struct ClientCertificates<'a> {
    root: &'a Section<'a>,
    section: Section<'a>,
    enforcement: Enforcement,
    max_verify_depth: u32,
    rules: LeafRules,
    /// For routes without a CA of their own.
    global: Option<Arc<ClientTrust>>,
    everywhere: bool,
    identity: Option<SanKind>,
    /// All of them, so that routes with the same CA share one.
    known: RefCell<Vec<Known>>,
    /// The index of each, by the digest of its CAs.
    places: RefCell<HashMap<[u8; 32], usize>>,
}

struct Known {
    anchors: Arc<TrustAnchors>,
    trust: Arc<ClientTrust>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Enforcement {
    RejectConnection,
    DefaultDeny,
    Policy,
}

impl<'a> ClientCertificates<'a> {
    /// Reads the settings for all routes.
    pub(super) fn new(
        root: &'a Section<'a>,
        own: &Section<'_>,
        materials: &Materials,
    ) -> ClientCertificates<'a> {
        let section = root.child_or_empty("downstream_mtls");
        let mut certificates = ClientCertificates {
            enforcement: enforcement(&section),
            max_verify_depth: max_verify_depth(&section),
            rules: LeafRules::read(root, own, materials),
            global: None,
            everywhere: everywhere(own),
            identity: identity(own),
            known: RefCell::default(),
            places: RefCell::default(),
            root,
            section,
        };
        let anchors = global_anchors(root, &certificates.section, materials);
        certificates.global = anchors.map(|anchors| certificates.trust(anchors));
        certificates
    }

    /// The trust for a route's clients: its own CA, or else the global one.
    pub(super) fn of_route(
        &self,
        route: &Section<'_>,
        materials: &Materials,
    ) -> Option<Arc<ClientTrust>> {
        let keys = ("tls_downstream_client_ca", "tls_downstream_client_ca_file");
        match materials.anchors(route, keys.0, keys.1) {
            Some(anchors) => Some(self.trust(anchors)),
            None => self.global.clone(),
        }
    }

    /// Whether a route denies invalid certificates regardless of its policy.
    pub(super) fn denies_by_default(&self, trust: Option<&Arc<ClientTrust>>) -> bool {
        match self.enforcement {
            Enforcement::RejectConnection => true,
            Enforcement::DefaultDeny => trust.is_some(),
            Enforcement::Policy => false,
        }
    }

    /// Whether the certificates of a route's clients are verified. Under `reject_connection`, all
    /// CAs together verify for a route without its own.
    pub(super) fn will_be_judged(&self, trust: Option<&Arc<ClientTrust>>) -> bool {
        trust.is_some() || self.enforcement == Enforcement::RejectConnection
    }

    /// The kind of name in a trusted certificate that identifies the user.
    pub(super) fn identity(&self) -> Option<SanKind> {
        self.identity
    }

    /// The CRLs.
    pub(super) fn crls(&self) -> Option<&Arc<CrlStore>> {
        self.rules.crls()
    }

    /// The client authentication of handshakes, once all routes are known.
    pub(super) fn finish(&self, routes: &mut [RouteConfig]) -> ClientAuthSpec {
        let mode = match (self.enforcement, self.union()) {
            (Enforcement::RejectConnection, Some(union)) => {
                // On connections opened before a reload, requests enforce it.
                for route in routes.iter_mut() {
                    route.http.client_trust.get_or_insert_with(|| Arc::clone(&union));
                }
                ClientAuthMode::Require(union)
            }
            _ => ClientAuthMode::Request { everywhere: self.everywhere },
        };
        let routes: Vec<_> = routes.iter().map(|route| self.route(route)).collect();
        self.warn_of_no_use(&routes);
        self.warn_of_useless_cas();
        if let Some(anchors) = self.all_anchors() {
            self.rules.verify(self.root, anchors);
        }
        ClientAuthSpec { mode, routes }
    }

    /// Whether any client CA was read.
    pub(super) fn has_any(&self) -> bool {
        !self.known.borrow().is_empty()
    }

    fn route(&self, route: &RouteConfig) -> RouteClientAuth {
        RouteClientAuth {
            host: route.matcher.host.clone(),
            looks: route.http.looks_at_certificate(self.identity),
            trust: route.http.client_trust.clone(),
        }
    }

    fn trust(&self, anchors: Arc<TrustAnchors>) -> Arc<ClientTrust> {
        let mut known = self.known.borrow_mut();
        let place = *self.places.borrow_mut().entry(anchors.digest).or_insert(known.len());
        if let Some(same) = known.get(place) {
            return Arc::clone(&same.trust);
        }
        let trust = Arc::new(ClientTrust::new(&self.spec(Arc::clone(&anchors))));
        known.push(Known { anchors, trust: Arc::clone(&trust) });
        trust
    }

    fn spec(&self, anchors: Arc<TrustAnchors>) -> ClientTrustSpec {
        self.rules.spec(anchors, self.max_verify_depth)
    }

    /// The trust of all CAs together.
    fn union(&self) -> Option<Arc<ClientTrust>> {
        let anchors = self.all_anchors()?;
        let known = self.known.borrow();
        match known.iter().find(|known| known.anchors.digest == anchors.digest) {
            Some(only) => Some(Arc::clone(&only.trust)),
            None => Some(Arc::new(ClientTrust::new(&self.spec(anchors)))),
        }
    }

    fn all_anchors(&self) -> Option<Arc<TrustAnchors>> {
        match self.known.borrow().as_slice() {
            [] => None,
            [only] => Some(Arc::clone(&only.anchors)),
            several => {
                let all: Vec<_> = several.iter().map(|known| &*known.anchors).collect();
                Some(Arc::new(TrustAnchors::union(&all)))
            }
        }
    }

    fn warn_of_useless_cas(&self) {
        let key = ["ca", "ca_file"].into_iter().find(|key| self.section.has(key));
        for known in self.known.borrow().iter() {
            let is_global = self.global.as_ref().is_some_and(|it| Arc::ptr_eq(it, &known.trust));
            match key.filter(|_| is_global) {
                Some(key) => of_client_cas(&self.section, key, &known.anchors),
                // The file's name says which.
                None => of_client_cas(self.root, "", &known.anchors),
            }
        }
    }

    /// Reports settings that should verify clients, but have no effect.
    fn warn_of_no_use(&self, routes: &[RouteClientAuth]) {
        if !self.has_any() {
            return unused(self.root, &self.section);
        }
        let looks = routes.iter().any(|route| route.looks);
        if self.enforcement == Enforcement::Policy && !self.everywhere && !looks {
            self.section.warn_with_hint(
                "enforcement",
                "is `policy`, but no route's policy depends on client certificates: clients are not asked for one",
                "use `client_certificate` or `invalid_client_certificate` in a policy",
            );
        }
    }
}

fn global_anchors(
    root: &Section<'_>,
    section: &Section<'_>,
    materials: &Materials,
) -> Option<Arc<TrustAnchors>> {
    for (old, new) in [("client_ca", "ca"), ("client_ca_file", "ca_file")] {
        if root.has(old) {
            let new = section.path_of(new);
            root.warn(old, format!("is the older name of `{new}`"));
        }
    }
    let old = materials.anchors(root, "client_ca", "client_ca_file");
    let new = materials.anchors(section, "ca", "ca_file");
    let old_given = ["client_ca", "client_ca_file"].into_iter().find(|key| root.has(key));
    let new_given = ["ca", "ca_file"].into_iter().find(|key| section.has(key));
    if let (Some(old), Some(new)) = (old_given, new_given) {
        contradiction(root, old, &section.path_of(new));
    }
    new.or(old)
}

fn enforcement(section: &Section<'_>) -> Enforcement {
    let choices = [
        ("REJECT_CONNECTION", Enforcement::RejectConnection),
        ("POLICY_WITH_DEFAULT_DENY", Enforcement::DefaultDeny),
        ("POLICY", Enforcement::Policy),
    ];
    section.choice("enforcement", &choices).unwrap_or(Enforcement::DefaultDeny)
}

fn max_verify_depth(section: &Section<'_>) -> u32 {
    let depth = section.number("max_verify_depth").unwrap_or(1);
    if depth == 0 || depth > MAX_VERIFY_DEPTH {
        let message = format!(
            "is {depth}, which has the effect of {MAX_VERIFY_DEPTH}: chains with more than {} \
             intermediate certificates are refused",
            MAX_VERIFY_DEPTH - 1
        );
        section.warn("max_verify_depth", message);
    }
    depth
}

fn everywhere(own: &Section<'_>) -> bool {
    let section = own.child_or_empty("client_certificates");
    section.choice("ask", &[("NEEDED", false), ("EVERYWHERE", true)]).unwrap_or(false)
}

fn identity(own: &Section<'_>) -> Option<SanKind> {
    own.choice("client_certificate_identity", &[("EMAIL", SanKind::Email), ("URI", SanKind::Uri)])
}

/// A section without a CA is an error: the author expects clients to be verified.
fn unused(root: &Section<'_>, section: &Section<'_>) {
    let tried = ["ca", "ca_file"].iter().any(|key| section.has(key) || section.is_blank(key))
        || ["client_ca", "client_ca_file"].iter().any(|key| root.has(key) || root.is_blank(key));
    if tried {
        return; // its error has been reported
    }
    let crl = ["client_crl", "client_crl_file"].iter().any(|key| root.has(key));
    if crl || section.entries().any(|(key, _)| !section.is_blank(key)) {
        root.error_with_hint(
            "downstream_mtls",
            "no client CA is configured",
            "set downstream_mtls.ca_file, or remove the section",
        );
    }
}
