//! `depends_on` of routes: further hosts at which people are signed in.

use std::cell::RefCell;

use super::{super::section::Section, url};
use crate::{
    identity::spec::{DependentHost, MAX_DEPENDENT_HOSTS},
    route::{HostMatch, Matcher, Table},
};

const KEY: &str = "depends_on";

/// The hosts that routes name, which may be those of routes that are read later.
#[derive(Debug, Default)]
pub(super) struct DependentHosts(RefCell<Vec<(String, Box<str>)>>);

/// What decides whether people sign in for a route.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigningIn {
    /// An identity provider is configured.
    pub(super) is_possible: bool,
    /// The policy of the route depends on the user.
    pub(super) is_needed: bool,
}

impl DependentHosts {
    /// Reads the key of one route.
    pub(super) fn of_route(
        &self,
        route: &Section<'_>,
        matcher: Option<&Matcher>,
        signing_in: SigningIn,
    ) -> Box<[DependentHost]> {
        let texts = route.list(KEY);
        if texts.is_empty() {
            return Box::default();
        }
        warn_of_no_effect(route, signing_in);
        if texts.len() > MAX_DEPENDENT_HOSTS {
            let message =
                format!("is limited to {MAX_DEPENDENT_HOSTS} hosts, and names {}", texts.len());
            route.error(KEY, message);
            return Box::default();
        }
        let mut hosts: Vec<DependentHost> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let key = format!("{KEY}[{index}]");
            let Some(host) = read(route, &key, text) else { continue };
            if is_own(matcher, &host) {
                route.warn(&key, "has no effect: it is the route's own host");
            } else if !hosts.contains(&host) {
                self.0.borrow_mut().push((route.path_of(&key), host.host.clone()));
                hosts.push(host);
            }
        }
        hosts.into()
    }

    /// Reports every host that no route has.
    pub(super) fn report<'r>(
        self,
        root: &Section<'_>,
        matchers: impl IntoIterator<Item = &'r Matcher>,
    ) {
        let named = self.0.into_inner();
        if named.is_empty() {
            return;
        }
        let table = Table::new(matchers);
        for (key, host) in named.iter().filter(|(_, host)| !table.has_host(host)) {
            let message = format!("no route is for `{host}`");
            root.error_with_hint(key, message, "add a route, or remove the host");
        }
    }
}

fn warn_of_no_effect(route: &Section<'_>, signing_in: SigningIn) {
    match signing_in {
        SigningIn { is_possible: false, .. } => {
            let message =
                "has no effect: nobody can sign in, because no identity provider is configured";
            route.warn_with_hint(KEY, message, "set idp_provider");
        }
        SigningIn { is_needed: false, .. } => {
            route.warn(KEY, "has no effect: nobody needs to sign in for this route");
        }
        SigningIn { is_possible: true, is_needed: true } => {}
    }
}

/// A host with or without a port, or a URL of which only these count, as in Pomerium.
fn read(route: &Section<'_>, key: &str, text: &str) -> Option<DependentHost> {
    let url = match text.contains("://") {
        true => url::parse(text),
        false if text.contains('/') => Err("a host has no path".to_owned()),
        false => url::parse(&format!("https://{text}")),
    };
    let problem = match url {
        Ok(url) if url.host.is_empty() || url.host.contains('*') => "it must name one host".into(),
        Ok(url) if !matches!(&*url.scheme, "https" | "http") => "its scheme must be https".into(),
        Ok(url) => {
            let port = url.port.unwrap_or(443);
            return Some(DependentHost { host: url.host.into(), port });
        }
        Err(problem) => problem,
    };
    let message = format!("bad host: {problem}");
    route.error_with_hint(key, message, "write other.example.com");
    None
}

fn is_own(matcher: Option<&Matcher>, host: &DependentHost) -> bool {
    matches!(matcher.map(|it| &it.host), Some(HostMatch::Exact(own)) if **own == *host.host)
}
