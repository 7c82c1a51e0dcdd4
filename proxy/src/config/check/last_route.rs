//! The last route that was read. Of many routes in a row, most differ from it in their host alone: of
//! such a route no other key is read again.

use std::cell::{Ref, RefCell};

use serde_yaml::Value;

use super::super::{model::RouteConfig, section::Section};

/// Keys that are read of each route. No other setting of a route depends on them.
const OWN_KEYS: [&str; 2] = ["from", "name"];

/// The last route about which there was nothing to report.
#[derive(Debug, Default)]
pub(super) struct LastRoute(RefCell<Option<ReadRoute>>);

/// A route, and what it says besides [`OWN_KEYS`].
#[derive(Debug)]
struct ReadRoute {
    written: Vec<(String, Value)>,
    route: RouteConfig,
}

impl LastRoute {
    /// The last route, if this one says the same besides [`OWN_KEYS`].
    pub(super) fn like(&self, section: &Section<'_>) -> Option<Ref<'_, RouteConfig>> {
        let last = Ref::filter_map(self.0.borrow(), |last| {
            let last = last.as_ref()?;
            let written = last.written.iter().map(|(key, value)| (&**key, value));
            other_keys(section).eq(written).then_some(&last.route)
        });
        last.ok()
    }

    /// Remembers a route. What it says of other hosts depends on its own, so such a route is not.
    pub(super) fn set(&self, section: &Section<'_>, route: &RouteConfig) {
        let is_kept = route.http.depends_on.is_empty();
        let written = || other_keys(section).map(|(key, value)| (key.to_owned(), value.clone()));
        self.0.replace(
            is_kept.then(|| ReadRoute { written: written().collect(), route: route.clone() }),
        );
    }
}

fn other_keys<'a>(section: &Section<'a>) -> impl Iterator<Item = (&'a str, &'a Value)> {
    section.entries().filter(|(key, _)| !OWN_KEYS.contains(key))
}

#[cfg(test)]
mod tests {
    use crate::config::{
        Diagnostic,
        tests::support::{Dir, with_certificate},
    };

    /// Routes, and settings that each add something to report.
    const WAYS: [&str; 14] = [
        "to: http://b\n  policy: [{allow: {or: [accept: true]}}]",
        "to: http://b/x\n  allow_public_unauthenticated_access: true",
        "to: http://b/x\n  allow_public_unauthenticated_access: true\n  prefix: /y",
        "to: http://b/x\n  allow_public_unauthenticated_access: true\n  regex: /y.*",
        "to: http://b\n  allow_public_unauthenticated_access: true\n  timeout: 3s",
        "to: http://b\n  allow_public_unauthenticated_access: true\n  allow_websockets: true",
        "to: http://b\n  allow_public_unauthenticated_access: true\n  set_request_headers: {X-A: b}",
        "to: http://b\n  allow_public_unauthenticated_access: true\n  tls_skip_verify: true",
        "to: https://b\n  allow_public_unauthenticated_access: true\n  tls_skip_verify: true",
        "redirect: {host_redirect: c}\n  allow_public_unauthenticated_access: true",
        "response: {status: 404}\n  allow_public_unauthenticated_access: true",
        "to: http://b\n  unknown_key: true",
        "to: http://b\n  depends_on: [a0.test]",
        "to: http://b\n  description: text",
    ];

    /// What is made of a route behind others, and what is reported of it.
    fn last(ways: &[&str]) -> (String, Vec<String>) {
        let route = |(n, way)| format!("- from: https://a{n}.test\n  {way}\n");
        let routes: String = ways.iter().enumerate().map(route).collect();
        let dir = Dir::new();
        let loaded = dir.load(&with_certificate(&format!("routes:\n{routes}")), &[]).unwrap();
        let route = loaded.config.routes.last().unwrap();
        let (name, host) = (format!("{}", route.http.name), format!("a{}.test", ways.len() - 1));
        assert_eq!(name.split(['/', '~']).next(), Some(&*host));
        let made = format!("{:?} {:?}", route.matcher, route.http).replace(&host, "HOST");
        let place = format!("routes[{}]", ways.len() - 1);
        let is_of_route = |finding: &&Diagnostic| {
            // That no certificate is for the host is said of hosts, and not of what routes share.
            let is_of_host = finding.message.starts_with("no server certificate is for");
            finding.key_path.contains(&place) && !is_of_host
        };
        let shown = loaded.warnings.iter().filter(is_of_route);
        let reported = shown.map(|finding| format!("{} {:?}", finding.message, finding.hint));
        (made, reported.collect())
    }

    #[test]
    fn a_route_is_the_same_whatever_the_one_before_says() {
        for way in WAYS {
            let alone = last(&[way]);
            for before in WAYS {
                let behind = last(&[before, way]);
                // A dependency on the host of another route is not one on its own.
                if !way.contains("depends_on") {
                    assert_eq!(behind, alone, "{way} after {before}");
                }
            }
        }
    }

    #[test]
    fn each_of_many_equal_routes_is_reported() {
        for (way, reports) in [(WAYS[8], 1), (WAYS[11], 2), (WAYS[4], 0)] {
            for count in 1..4 {
                assert_eq!(last(&vec![way; count]).1.len(), reports, "{way}");
            }
        }
    }
}
