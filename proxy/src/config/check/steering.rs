//! `portcullis.steering`.

use std::{cell::OnceCell, collections::HashSet, num::NonZeroUsize, sync::Arc};

use portcullis_abi::{HostName, MAX_WORKERS};
use serde_yaml::Value;

use super::{
    super::{
        model::RouteConfig,
        section::{Section, scalar_text},
    },
    portcullis::ranged,
};
use crate::{
    route::HostMatch,
    steering::{ModeChoice, Pin, SteeringSpec},
};

/// The mode by which new connections find their worker.
pub(super) fn steering(
    own: &Section<'_>,
    routes: &[RouteConfig],
    workers: Option<NonZeroUsize>,
) -> SteeringSpec {
    let section = own.child_or_empty("steering");
    let modes = [
        ("AUTO", ModeChoice::Auto),
        ("KERNEL", ModeChoice::Kernel),
        ("HANDOFF", ModeChoice::Handoff),
        ("NONE", ModeChoice::None),
    ];
    let mode = section.choice("mode", &modes).unwrap_or_default();
    check_workers(own, mode, workers);
    let refuse_unknown = section.choice("unknown_sni", &[("ACCEPT", false), ("REFUSE", true)]);
    let refuse_unknown = refuse_unknown.unwrap_or(false);
    if refuse_unknown {
        warn_of_open_wildcard(&section, routes);
    }
    SteeringSpec {
        mode,
        hosts: hosts(routes),
        pins: Pins { section: &section, routes, hosts: OnceCell::new(), workers }.read(),
        refuse_unknown,
        max_load_percent: ranged(&section, "max_load_percent", 101..=1000).unwrap_or(120),
    }
}

/// Reports more workers than can be steered to.
fn check_workers(own: &Section<'_>, mode: ModeChoice, workers: Option<NonZeroUsize>) {
    let is_too_many = workers.is_some_and(|workers| workers.get() > MAX_WORKERS as usize);
    let message = format!("steering supports at most {MAX_WORKERS} workers");
    match mode {
        ModeChoice::Kernel | ModeChoice::Handoff if is_too_many => {
            let hint = format!("reduce it to {MAX_WORKERS}, or set steering.mode to auto or none");
            own.error_with_hint("workers", message, hint);
        }
        ModeChoice::Auto if is_too_many => {
            let hint = format!("reduce it to {MAX_WORKERS}, or set steering.mode to none");
            own.warn_with_hint("workers", message + ": no connection will be steered", hint);
        }
        _ => {}
    }
}

/// Each once, and not copied: there may be 100,000.
fn hosts(routes: &[RouteConfig]) -> Vec<Arc<str>> {
    let mut seen = HashSet::with_capacity(routes.len());
    let hosts = routes.iter().map(|route| &route.matcher.host);
    let mut distinct = Vec::with_capacity(routes.len());
    for host in hosts.filter(|host| seen.insert(written(host))) {
        distinct.push(match host {
            HostMatch::Exact(host) => Arc::clone(host),
            HostMatch::Wildcard(wildcard) => wildcard.pattern.as_ref().into(),
        });
    }
    distinct
}

fn written(host: &HostMatch) -> &str {
    match host {
        HostMatch::Exact(host) => host,
        HostMatch::Wildcard(wildcard) => &wildcard.pattern,
    }
}

/// Names are distinguished by the text after the last star.
fn warn_of_open_wildcard(section: &Section<'_>, routes: &[RouteConfig]) {
    if let Some(route) = routes.iter().find(|route| written(&route.matcher.host).ends_with('*')) {
        let message = format!(
            "has no effect: the host of route `{}` ends in a star, so it matches every name",
            route.http.name
        );
        section.warn("unknown_sni", message);
    }
}

struct Pins<'a> {
    section: &'a Section<'a>,
    routes: &'a [RouteConfig],
    /// The hosts that routes name exactly; computed for the first pin.
    hosts: OnceCell<HashSet<&'a str>>,
    workers: Option<NonZeroUsize>,
}

impl<'a> Pins<'a> {
    fn read(&self) -> Vec<Pin> {
        match self.section.value("pin") {
            None => Vec::new(),
            Some(Value::Mapping(pins)) => {
                let pins =
                    pins.iter().filter_map(|(host, value)| Some((scalar_text(host)?, value)));
                pins.filter_map(|(host, value)| self.pin(&host, value)).collect()
            }
            Some(_) => {
                let hint = "write a host and a list of workers: app.example.com: [0, 1]";
                self.section.error_with_hint("pin", "is not a mapping", hint);
                Vec::new()
            }
        }
    }

    fn pin(&self, host: &str, value: &Value) -> Option<Pin> {
        let key = format!("pin.{host}");
        let host = host.to_ascii_lowercase();
        if let Err((message, hint)) = self.check_host(&host) {
            self.section.error_with_hint(&key, message, hint);
            return None;
        }
        let workers = match value {
            Value::Sequence(items) => items.iter().map(|item| self.worker(&key, item)).collect(),
            one => Some(vec![self.worker(&key, one)?]),
        };
        let workers: Vec<u32> = workers?;
        if workers.is_empty() {
            self.section.error(&key, "lists no worker");
            return None;
        }
        Some(Pin { host: host.into(), workers })
    }

    fn check_host(&self, host: &str) -> Result<(), (&'static str, &'static str)> {
        let served = |fits: &dyn Fn(&HostMatch) -> bool| {
            self.routes.iter().any(|route| fits(&route.matcher.host))
        };
        let unserved = ("no route has this host", "pins are for the hosts of routes");
        match host.rsplit_once('*') {
            Some(("", ending)) if served(&|route| written(route).ends_with(ending)) => Ok(()),
            Some(("", _)) => Err(unserved),
            Some(_) => Err((
                "has characters before its last star",
                "write *.example.com: only the text after the last star counts",
            )),
            None if HostName::parse(host.as_bytes()).is_none() => Err((
                "is not a name that a client can send as SNI",
                "write a host such as app.example.com or *.example.com",
            )),
            None if self.hosts().contains(host) => Ok(()),
            None if served(&|route| matches_pattern(route, host)) => Ok(()),
            None => Err(unserved),
        }
    }

    fn hosts(&self) -> &HashSet<&'a str> {
        let exact = |route: &'a RouteConfig| match &route.matcher.host {
            HostMatch::Exact(host) => Some(&**host),
            HostMatch::Wildcard(_) => None,
        };
        self.hosts.get_or_init(|| self.routes.iter().filter_map(exact).collect())
    }

    fn worker(&self, key: &str, value: &Value) -> Option<u32> {
        let text = scalar_text(value);
        let number = text.as_deref().and_then(|text| text.trim().parse::<u32>().ok());
        let Some(number) = number else {
            self.section.error(key, "contains a value that is not a worker number");
            return None;
        };
        let workers = self.workers.and_then(|workers| u32::try_from(workers.get()).ok());
        let limit = workers.unwrap_or(MAX_WORKERS);
        if number < limit {
            return Some(number);
        }
        let message =
            format!("there is no worker {number}: they are numbered from 0 to {}", limit - 1);
        self.section.error(key, message);
        None
    }
}

fn matches_pattern(route: &HostMatch, host: &str) -> bool {
    match route {
        HostMatch::Exact(_) => false,
        HostMatch::Wildcard(wildcard) => wildcard.regex.is_match(host),
    }
}
