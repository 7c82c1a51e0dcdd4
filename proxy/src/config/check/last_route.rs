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
