//! Routes, from both lists.

use std::{
    cell::RefCell,
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;

use super::{
    super::{model::RouteConfig, section::Section},
    access, certificate_headers,
    client_auth::ClientCertificates,
    depends_on::{DependentHosts, SigningIn},
    headers, health_checks,
    http::{limit, upstream_timeout},
    identity::{self, BearerDefaults, IdentityDefaults, RouteClients},
    inspect::Inspection,
    last_route::LastRoute,
    matching::{self, ListenerTraits},
    material::Materials,
    outlier_detection, rewrite, shadows,
    upstream::{self, Trust},
};
use crate::{
    http::{ActionSpec, CertificateHeaders, ProxySpec, RouteSpec},
    policy::Policy,
    route::{HostMatch, Matcher, PathMatch, PortMatch},
};

/// Envoy's default.
const STREAM_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Each route has one of these.
const ACTIONS: [&str; 3] = ["to", "redirect", "response"];

/// For so many routes at most, room is made before they are read.
const MOST_EXPECTED: usize = 1 << 18;

/// `policy`, then `routes`, as Pomerium orders them.
pub(super) fn routes(
    root: &Section<'_>,
    trust: &Trust<'_>,
    materials: &Materials,
    clients: &ClientCertificates<'_>,
    of_all: OfAll<'_>,
    inspection: &mut Inspection<'_, '_>,
) -> Vec<RouteConfig> {
    let shared = Shared {
        trust,
        materials,
        clients,
        of_all,
        upstream_timeout: upstream_timeout(root),
        policies: Policies::default(),
        dependents: DependentHosts::default(),
        last: LastRoute::default(),
    };
    let lists = ["policy", "routes"];
    let len = lists.iter().map(|key| root.list_len(key)).sum::<usize>().min(MOST_EXPECTED);
    let mut seen = Seen::with_capacity(len);
    let mut routes = Vec::with_capacity(len);
    let mut is_complete = true;
    for key in lists {
        root.each_child(key, |section| {
            let route = match shared.last.like(section) {
                Some(last) => shared.route_like(&last, section, &mut seen),
                None => shared.new_route(key, section, &mut seen, inspection),
            };
            is_complete &= route.is_some();
            routes.extend(route);
        });
    }
    if routes.is_empty() && !root.has("policy") && !root.has("routes") {
        root.warn("routes", "there is no route: every request gets 404");
    }
    // A route that has a mistake is missing here, and its host need not be reported.
    if is_complete {
        shared.dependents.report(root, routes.iter().map(|route: &RouteConfig| &route.matcher));
    }
    routes
}

/// Settings of other sections that apply to all routes.
#[derive(Debug, Clone, Copy)]
pub(super) struct OfAll<'a> {
    /// What `from` means.
    pub(super) listener: ListenerTraits,
    /// The client certificate headers for routes without a setting of their own.
    pub(super) certificate_headers: CertificateHeaders,
    /// Who can be known, and what upstreams are told.
    pub(super) identity: IdentityDefaults,
    /// The bearer tokens that routes take.
    pub(super) bearer: &'a BearerDefaults,
    /// The clients of routes at the identity provider.
    pub(super) clients: &'a RouteClients,
}

/// State shared by all routes.
struct Shared<'a> {
    trust: &'a Trust<'a>,
    materials: &'a Materials,
    clients: &'a ClientCertificates<'a>,
    of_all: OfAll<'a>,
    upstream_timeout: Option<Duration>,
    policies: Policies,
    dependents: DependentHosts,
    last: LastRoute,
}

/// The last few distinct policies: most routes have one of these, and share it.
#[derive(Default)]
struct Policies(RefCell<VecDeque<Arc<Policy>>>);

impl Policies {
    /// The number of policies compared, bounded so that each route costs the same.
    const MOST: usize = 8;

    fn share(&self, policy: Policy) -> Arc<Policy> {
        let mut known = self.0.borrow_mut();
        if let Some(same) = known.iter().find(|known| ***known == policy) {
            return Arc::clone(same);
        }
        let policy = Arc::new(policy);
        known.truncate(Self::MOST - 1);
        known.push_front(Arc::clone(&policy));
        policy
    }
}

/// Values that must be unique.
struct Seen {
    /// Matchers, described, with the path of the route's section.
    matchers: HashMap<(PortMatch, Arc<str>), Box<str>>,
    /// Names, with the last number given to a route of that name.
    names: HashMap<Arc<str>, u32>,
}

impl Shared<'_> {
    /// Reads a route, and remembers it if there is nothing to report.
    fn new_route(
        &self,
        list: &str,
        section: &Section<'_>,
        seen: &mut Seen,
        inspection: &mut Inspection<'_, '_>,
    ) -> Option<RouteConfig> {
        let findings = section.context().findings();
        inspection.route(list, section);
        let route = self.route(section, seen)?;
        if section.context().findings() == findings {
            self.last.set(section, &route);
        }
        Some(route)
    }

    /// Reads a route that differs from the last one in its host and name alone.
    fn route_like(
        &self,
        last: &RouteConfig,
        section: &Section<'_>,
        seen: &mut Seen,
    ) -> Option<RouteConfig> {
        let listener = self.of_all.listener;
        let matcher = matching::matcher_with_path_of(&last.matcher, section, listener)?;
        let name = seen.route(section, &matcher);
        Some(RouteConfig { matcher, http: RouteSpec { name, ..last.http.clone() } })
    }

    fn route(&self, section: &Section<'_>, seen: &mut Seen) -> Option<RouteConfig> {
        let matcher = matching::matcher(section, self.of_all.listener);
        let name = match &matcher {
            Some(matcher) => seen.route(section, matcher),
            None => section.path().into(),
        };
        let upgrades = upgrades(section);
        let client_trust = self.clients.of_route(section, self.materials);
        let denies_by_default = self.clients.denies_by_default(client_trust.as_ref());
        let policy = access::policy(section, denies_by_default);
        let by_certificate = self.of_all.identity.certificates && client_trust.is_some();
        let by_token = self.of_all.bearer.takes_jwt(section);
        let is_identified = self.of_all.identity.sign_in || by_certificate || by_token;
        access::warn_of_nobody(section, &policy, is_identified);
        let signing_in = SigningIn {
            is_possible: self.of_all.identity.sign_in,
            is_needed: policy.needs().identity,
        };
        let depends_on = self.dependents.of_route(section, matcher.as_ref(), signing_in);
        let certificate_headers = certificate_headers::of_route(
            section,
            self.of_all.certificate_headers,
            self.clients.will_be_judged(client_trust.as_ref()),
        );
        let mut http = RouteSpec {
            policy: self.policies.share(policy),
            client_trust,
            action: self.action(section, matcher.as_ref(), certificate_headers)?,
            timeout: self.timeout(section, &upgrades),
            idle_timeout: idle_timeout(section, &upgrades),
            request_headers: headers::request(section, self.of_all.identity),
            response_headers: headers::response(section),
            name,
            upgrades,
            pass_identity_headers: identity::pass_identity_headers(section, self.of_all.identity),
            issuer_format: identity::issuer_format(section, self.of_all.identity),
            bearer: None,
            depends_on,
            client: None,
        };
        let client_id = self.of_all.clients.id_of_route(section);
        http.client = client_id.as_deref().and_then(|id| self.of_all.clients.provider(id));
        self.of_all.clients.warn_of_no_user(section, &http);
        http.bearer = self.of_all.bearer.of_route(section, &http, client_id.as_deref());
        Some(RouteConfig { matcher: matcher?, http })
    }

    fn action(
        &self,
        section: &Section<'_>,
        matcher: Option<&Matcher>,
        certificate_headers: CertificateHeaders,
    ) -> Option<ActionSpec> {
        let mut given = ACTIONS.into_iter().filter(|key| section.has(key));
        let Some(action) = given.next() else {
            report_missing_action(section);
            return None;
        };
        if let Some(second) = given.next() {
            super::material::contradiction(section, action, second);
            return None;
        }
        if action != "to" {
            health_checks::refuse_health_checks(section, action);
            outlier_detection::warn_without_upstreams(section, action);
        }
        match action {
            "to" => self.proxy(section, matcher, certificate_headers),
            "redirect" => {
                Some(ActionSpec::Redirect(rewrite::redirect(&section.child("redirect")?)))
            }
            _ => response(&section.child("response")?),
        }
    }

    fn proxy(
        &self,
        section: &Section<'_>,
        matcher: Option<&Matcher>,
        client_certificate: CertificateHeaders,
    ) -> Option<ActionSpec> {
        let target = upstream::target(section, self.trust, self.materials);
        let to_path = target.as_ref().map_or("", |target| &target.path);
        let path = rewrite::path(section, to_path, matcher.map(|matcher| &matcher.path));
        let host = rewrite::host(section);
        let cluster = target?.cluster;
        Some(ActionSpec::Proxy(ProxySpec { cluster, path, host, client_certificate }))
    }

    fn timeout(&self, section: &Section<'_>, upgrades: &[Box<str>]) -> Option<Duration> {
        let default = if upgrades.is_empty() { self.upstream_timeout } else { None };
        limit(section, "timeout", default)
    }
}

fn report_missing_action(section: &Section<'_>) {
    let outside = |key| section.context().line(key).map(|line| (key, line));
    let hint = match ACTIONS.into_iter().find_map(outside) {
        Some((key, line)) => {
            format!("`{key}` in line {line} belongs to no route: indent it like the route's `from`")
        }
        None => "write to: http://127.0.0.1:8080".to_owned(),
    };
    section.error_with_hint("to", "this route needs one of `to`, `redirect`, `response`", hint);
}

fn idle_timeout(section: &Section<'_>, upgrades: &[Box<str>]) -> Option<Duration> {
    let default = upgrades.is_empty().then_some(STREAM_IDLE_TIMEOUT);
    limit(section, "idle_timeout", default)
}

/// Protocols that clients may upgrade to, lower case.
fn upgrades(section: &Section<'_>) -> Vec<Box<str>> {
    let mut upgrades: Vec<Box<str>> = Vec::new();
    for (key, protocol) in [("allow_websockets", "websocket"), ("allow_spdy", "spdy/3.1")] {
        if section.flag(key).unwrap_or(false) {
            upgrades.push(protocol.into());
        }
    }
    for protocol in section.list("allow_upgrades") {
        let protocol = protocol.to_lowercase();
        let is_token = protocol.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',');
        if protocol.is_empty() || !is_token {
            let message = format!("`{}` is not a protocol", protocol.escape_debug());
            section.error("allow_upgrades", message);
        } else if !upgrades.iter().any(|known| **known == *protocol) {
            upgrades.push(protocol.into());
        }
    }
    upgrades
}

fn response(section: &Section<'_>) -> Option<ActionSpec> {
    let body = section.text("body").unwrap_or_default();
    let Some(status) = section.number::<u16>("status") else {
        if !section.has("status") {
            section.error("status", "is missing");
        }
        return None;
    };
    match StatusCode::from_u16(status) {
        Ok(code) if (200..600).contains(&status) => {
            Some(ActionSpec::Respond { status: code, body: Bytes::from(body) })
        }
        _ => {
            section.error("status", format!("{status} is not a status from 200 to 599"));
            None
        }
    }
}

impl Seen {
    fn with_capacity(routes: usize) -> Seen {
        Seen { matchers: HashMap::with_capacity(routes), names: HashMap::with_capacity(routes) }
    }

    /// Notes a route, and gives its name.
    fn route(&mut self, section: &Section<'_>, matcher: &Matcher) -> Arc<str> {
        let described = describe(matcher);
        if !self.matcher(section, matcher.port, Arc::clone(&described)) {
            self.broader(section, matcher);
        }
        self.name(section.text("name").map_or(described, Arc::from))
    }

    /// Warns about a route whose requests another route serves already; whether it did.
    fn matcher(&mut self, section: &Section<'_>, port: PortMatch, described: Arc<str>) -> bool {
        match self.matchers.entry((port, described)) {
            Entry::Occupied(first) => {
                let first = section.context().place(first.get());
                let message = format!("is never reached: {first} serves the same requests");
                let hint = "several upstreams of one route are a list in `to`";
                section.warn_with_hint("from", message, hint);
                true
            }
            Entry::Vacant(new) => {
                new.insert(section.path().into());
                false
            }
        }
    }

    /// Warns about a route behind one of its host that serves more than its requests.
    fn broader(&self, section: &Section<'_>, matcher: &Matcher) {
        let serves = |broad: Matcher| self.matchers.get(&(broad.port, describe(&broad)));
        if let Some(first) = shadows::broader(matcher).find_map(serves) {
            let first = section.context().place(first);
            let message = format!("is never reached: {first} comes first, and serves its requests");
            section.warn_with_hint("from", message, "put the route with the longer path first");
        }
    }

    /// Routes of the same name are numbered, so that each has its own.
    fn name(&mut self, wanted: Arc<str>) -> Arc<str> {
        let last = match self.names.entry(Arc::clone(&wanted)) {
            Entry::Occupied(last) => *last.get(),
            Entry::Vacant(new) => {
                new.insert(1);
                return wanted;
            }
        };
        for number in last.saturating_add(1).. {
            let numbered: Arc<str> = format!("{wanted}#{number}").into();
            if !self.names.contains_key(&numbered) {
                self.names.insert(Arc::clone(&numbered), 1);
                self.names.insert(wanted, number);
                return numbered;
            }
        }
        wanted
    }
}

/// `app.example.com:8443/api*`, `app.example.com~^/x` for an expression.
fn describe(matcher: &Matcher) -> Arc<str> {
    let host = match &matcher.host {
        HostMatch::Exact(host) if is_whole_host(matcher) => return Arc::clone(host),
        HostMatch::Exact(host) => host.as_ref(),
        HostMatch::Wildcard(wildcard) => wildcard.pattern.as_ref(),
    };
    let port = match matcher.port {
        PortMatch::Any | PortMatch::Is(443) => String::new(),
        PortMatch::Is(port) => format!(":{port}"),
    };
    let path = match &matcher.path {
        PathMatch::Any => String::new(),
        PathMatch::Prefix(prefix) => format!("{prefix}*"),
        PathMatch::Exact(path) => path.to_string(),
        PathMatch::Regex(regex) => format!("~{}", written(regex.as_str())),
    };
    format!("{host}{port}{path}").into()
}

/// Whether it is for all paths of a host, at the usual port.
fn is_whole_host(matcher: &Matcher) -> bool {
    let is_usual_port = matches!(matcher.port, PortMatch::Any | PortMatch::Is(443));
    is_usual_port && matches!(matcher.path, PathMatch::Any)
}

/// An expression without the anchors that were added.
fn written(regex: &str) -> &str {
    regex.strip_prefix("\\A(?:").and_then(|rest| rest.strip_suffix(")\\z")).unwrap_or(regex)
}
