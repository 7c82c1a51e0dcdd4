//! Looking up a request's route.

use std::hint::black_box;

use portcullis::facade::route::{HostMatch, Matcher, PathMatch, PortMatch, Table, WildcardHost};
use regex::Regex;

use super::Work;

pub(super) fn works() -> Vec<Work> {
    vec![
        lookup("route match, 10 routes", 10),
        lookup("route match, 10,000 routes", 10_000),
        lookup_of_a_wildcard("route match, a wildcard beside 10,000 routes"),
    ]
}

/// As many hosts as half the routes, each with two paths of which the second is asked for.
fn lookup(name: &'static str, routes: usize) -> Work {
    let hosts: Vec<String> =
        (0..routes / 2).map(|number| format!("service-{number}.example.com")).collect();
    let table = Table::new(&matchers(&hosts));
    Work::repeated(name, move |number| {
        // A stride that meets every host, and so does not find it in the cache of the last one.
        let host = &hosts[number * 7919 % hosts.len()];
        let found = table.find(black_box(host), None, black_box("/orders/1234"));
        assert!(black_box(found).is_some());
    })
}

fn lookup_of_a_wildcard(name: &'static str) -> Work {
    let hosts: Vec<String> = (0..5_000).map(|number| format!("{number}.example.com")).collect();
    let mut matchers = matchers(&hosts);
    matchers.push(wildcard("*.apps.example.com"));
    let last = matchers.len() - 1;
    let table = Table::new(&matchers);
    Work::repeated(name, move |_| {
        let found = table.find(black_box("one.of.many.apps.example.com"), Some(443), "/");
        assert_eq!(black_box(found), Some(last));
    })
}

fn matchers(hosts: &[String]) -> Vec<Matcher> {
    let paths = ["/static/", "/orders/"];
    let of = |host: &String| {
        let host = HostMatch::Exact(host.as_str().into());
        paths.map(|path| Matcher {
            host: host.clone(),
            port: PortMatch::Any,
            path: PathMatch::Prefix(path.into()),
        })
    };
    hosts.iter().flat_map(of).collect()
}

fn wildcard(pattern: &str) -> Matcher {
    let expression = format!("^(?:{})$", regex::escape(pattern).replace(r"\*", ".*"));
    let regex = Regex::new(&expression).expect("an escaped pattern is an expression");
    let host = HostMatch::Wildcard(WildcardHost { pattern: pattern.into(), regex });
    Matcher { host, port: PortMatch::Any, path: PathMatch::Any }
}
