use super::*;
use crate::{
    route::{HostMatch, WildcardHost},
    tls::{
        testing::{Issued, ca, root, self_signed},
        trust::ClientTrustSpec,
    },
};

fn trust(issuer: &Issued) -> Arc<ClientTrust> {
    let spec = ClientTrustSpec::new(issuer.anchors(), 1);
    Arc::new(ClientTrust::new(&spec))
}

fn route(host: &str, looks: bool, trust: Option<&Arc<ClientTrust>>) -> RouteClientAuth {
    let host = match host.strip_prefix('*') {
        None => HostMatch::Exact(host.into()),
        Some(suffix) => HostMatch::Wildcard(WildcardHost {
            pattern: host.into(),
            regex: regex::Regex::new(&format!("\\A.*{}\\z", regex::escape(suffix))).unwrap(),
        }),
    };
    RouteClientAuth { host, looks, trust: trust.cloned() }
}

fn needed(routes: Vec<RouteClientAuth>) -> ClientAuth {
    ClientAuth::new(&ClientAuthSpec { mode: ClientAuthMode::Request { everywhere: false }, routes })
}

fn hints(auth: &ClientAuth, name: Option<&str>) -> usize {
    match &auth.scopes()[auth.scope(name)] {
        ClientAuthProfile::Request(request) => request.trusts.len(),
        _ => 0,
    }
}

#[test]
fn by_default_nobody_is_asked() {
    let auth = ClientAuth::default();
    assert!(!auth.asks(Some("a.example")) && !auth.asks(None));
    assert_eq!(auth.scopes().len(), 1);
}

#[test]
fn only_hosts_with_a_route_that_looks_ask() {
    let one = trust(&root());
    let auth = needed(vec![
        route("public.example", false, Some(&one)),
        route("mixed.example", false, Some(&one)),
        route("mixed.example", true, Some(&one)),
        route("all.example", true, Some(&one)),
    ]);
    assert!(!auth.asks(Some("public.example")));
    assert!(auth.asks(Some("mixed.example")));
    assert!(auth.asks(Some("all.example")));
    // A connection of an unknown host is always asked.
    assert!(auth.asks(None) && auth.asks(Some("unknown.example")));
}

#[test]
fn a_host_names_the_cas_of_its_own_routes_alone() {
    let (one, other) = (trust(&root()), trust(&self_signed(ca("another root"))));
    let auth = needed(vec![
        route("both.example", true, Some(&one)),
        route("both.example", true, Some(&other)),
        route("both.example", true, Some(&one)),
        route("one.example", true, Some(&one)),
        route("pinned.example", true, None),
    ]);
    assert_eq!(hints(&auth, Some("both.example")), 2);
    assert_eq!(hints(&auth, Some("one.example")), 1);
    assert_eq!(hints(&auth, Some("pinned.example")), 0);
    assert!(auth.asks(Some("pinned.example")));
    assert_eq!(hints(&auth, None), 2);
}

#[test]
fn a_connection_covers_hosts_that_ask_for_the_same() {
    let (one, other) = (trust(&root()), trust(&self_signed(ca("another root"))));
    let auth = needed(vec![
        route("a.example", true, Some(&one)),
        route("b.example", true, Some(&one)),
        route("mixed.example", true, Some(&one)),
        route("mixed.example", false, Some(&one)),
        route("c.example", true, Some(&other)),
        route("open.example", false, None),
    ]);
    assert!(auth.covers(Some("a.example"), "b.example"));
    assert!(auth.covers(Some("a.example"), "mixed.example"));
    assert!(auth.covers(Some("mixed.example"), "a.example"));
    assert!(!auth.covers(Some("a.example"), "c.example"));
    assert!(!auth.covers(Some("open.example"), "a.example"));
    assert!(auth.covers(None, "a.example") && auth.covers(Some("x.example"), "c.example"));
    assert!(auth.covers(Some("c.example"), "c.example"));
}

#[test]
fn a_name_under_several_patterns_is_asked_for_all_of_them() {
    let (one, other) = (trust(&root()), trust(&self_signed(ca("another root"))));
    let auth = needed(vec![
        route("*.example", true, Some(&one)),
        route("*.b.example", true, Some(&other)),
        route("*.open", false, None),
        route("own.b.example", false, None),
    ]);
    assert_eq!(hints(&auth, Some("a.example")), 1);
    assert_eq!(hints(&auth, Some("a.b.example")), 2);
    assert!(!auth.asks(Some("a.open")));
    assert!(!auth.asks(Some("own.b.example")));
}

#[test]
fn everywhere_means_at_hosts_that_do_not_look_too() {
    let one = trust(&root());
    let everywhere = |routes| {
        ClientAuth::new(&ClientAuthSpec {
            mode: ClientAuthMode::Request { everywhere: true },
            routes,
        })
    };
    let auth = everywhere(vec![route("open.example", false, Some(&one))]);
    assert!(auth.asks(Some("open.example")) && auth.asks(None));
    assert!(auth.covers(Some("open.example"), "other.example"));
    assert!(!everywhere(vec![route("open.example", false, None)]).asks(None));
}

#[test]
fn hosts_of_one_scope_share_it() {
    let one = trust(&root());
    // Compiled twice, as for two routes that name the same file.
    let same = Arc::new(ClientTrust::new(&ClientTrustSpec::new(root().anchors(), 1)));
    let routes = |count: usize, trust: &Arc<ClientTrust>| -> Vec<_> {
        (0..count).map(|n| route(&format!("h{n}.example"), true, Some(trust))).collect()
    };
    // Theirs, and that of names that no route serves, which nobody demands of.
    assert_eq!(needed(routes(100, &one)).scopes().len(), 3);
    assert_ne!(one.digest(), same.digest(), "two roots of one name");
}
