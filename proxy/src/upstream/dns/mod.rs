//! DNS names of upstreams and their addresses.
//!
//! The control thread resolves; workers read the last result of each name without a lock. A name
//! lives as long as an endpoint holds it.

mod failure;
mod name;
mod resolver;
mod schedule;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

pub(crate) use name::{DnsName, Resolution};
pub(crate) use resolver::Resolver;
use tokio::sync::{Notify, Semaphore};

use super::DnsSpec;

/// All names that endpoints hold. Created once and kept across reloads.
#[derive(Debug)]
pub(crate) struct DnsNames {
    state: Mutex<State>,
    /// Limits concurrent look-ups: the control thread has other work besides 100,000 of them.
    lookups: Semaphore,
    /// A name was added that the resolver does not know yet.
    added: Notify,
    /// The settings changed: every name is resolved again.
    reconfigured: Notify,
}

#[derive(Debug)]
struct State {
    spec: DnsSpec,
    names: HashMap<Box<str>, Weak<DnsName>>,
    /// The number of names at which unused ones are removed.
    most: usize,
    unresolved: Vec<Weak<DnsName>>,
}

/// Maximum number of concurrent look-ups.
const MOST_LOOKUPS: usize = 256;

/// Below this number of names, unused ones are not removed.
const FEW: usize = 64;

impl State {
    /// Removes unused names once there are twice as many names as after the last removal, so that a
    /// new name does not cost a walk over all names.
    fn forget_unheld(&mut self) {
        if self.names.len() >= self.most {
            self.names.retain(|_, name| name.strong_count() > 0);
            self.most = FEW.max(2 * self.names.len());
        }
    }
}

impl DnsNames {
    /// No names yet.
    pub(crate) fn new(spec: DnsSpec) -> DnsNames {
        DnsNames {
            state: Mutex::new(State {
                spec,
                names: HashMap::new(),
                most: FEW,
                unresolved: Vec::new(),
            }),
            lookups: Semaphore::new(MOST_LOOKUPS),
            added: Notify::new(),
            reconfigured: Notify::new(),
        }
    }

    /// Allows so many concurrent look-ups, if that is fewer than otherwise. For the start.
    pub(crate) fn limit_lookups(&self, most: usize) {
        self.lookups.forget_permits(MOST_LOOKUPS.saturating_sub(most));
    }

    /// The entry of a name. A new name is handed to the resolver. Not for IP addresses; called only
    /// by the control thread.
    pub(crate) fn name(&self, host: &str) -> Arc<DnsName> {
        let host = host.to_ascii_lowercase();
        let mut state = self.lock();
        if let Some(name) = state.names.get(host.as_str()).and_then(Weak::upgrade) {
            return name;
        }
        let name = Arc::new(DnsName::new(&host));
        state.forget_unheld();
        state.names.insert(host.into(), Arc::downgrade(&name));
        state.unresolved.push(Arc::downgrade(&name));
        drop(state);
        self.added.notify_one();
        name
    }

    /// Applies new settings on a reload. Known addresses stay until new ones are resolved.
    pub(crate) fn configure(&self, spec: DnsSpec) {
        let mut state = self.lock();
        if state.spec != spec {
            state.spec = spec;
            self.reconfigured.notify_waiters();
        }
    }

    /// Resolves a name once, with the current settings; nothing is kept. Needs a tokio runtime with
    /// I/O and time.
    pub(crate) async fn look_up(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let family = self.spec().family;
        // It is never closed.
        let _turn = self.lookups.acquire().await;
        resolver::look_up(host, family).await
    }

    fn spec(&self) -> DnsSpec {
        self.lock().spec
    }

    fn take_unresolved(&self) -> Vec<Weak<DnsName>> {
        std::mem::take(&mut self.lock().unresolved)
    }

    /// A panic of another holder cannot leave the table inconsistent.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::DnsFamily;

    fn names() -> DnsNames {
        DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred })
    }

    #[test]
    fn one_name_is_resolved_once_however_it_is_written() {
        let names = names();
        let (a, b) = (names.name("App.example"), names.name("app.EXAMPLE"));
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(names.take_unresolved().len(), 1);
        assert_eq!(a.host(), "app.example");
    }

    #[test]
    fn a_name_that_nobody_holds_is_forgotten() {
        let names = names();
        drop(names.name("old.example"));
        let _held = names.name("new.example");
        assert!(names.take_unresolved().first().is_some_and(|old| old.upgrade().is_none()));
        for other in 0..10 * FEW {
            drop(names.name(&format!("{other}.example")));
            assert!(names.lock().names.len() <= FEW);
        }
    }

    #[test]
    fn names_that_are_held_are_not_walked_for_each_new_one() {
        let names = names();
        let mut walks = 0;
        let mut most = FEW;
        let held: Vec<_> = (0..100 * FEW)
            .map(|number| {
                let name = names.name(&format!("{number}.example"));
                let now = names.lock().most;
                walks += usize::from(now != most);
                most = now;
                name
            })
            .collect();
        assert_eq!(names.lock().names.len(), held.len());
        assert!(walks <= 7, "one walk for each doubling, not {walks}");
    }

    #[test]
    fn a_forgotten_name_is_resolved_anew_when_it_returns() {
        let names = names();
        drop(names.name("app.example"));
        let _again = names.name("app.example");
        assert_eq!(names.take_unresolved().iter().filter_map(Weak::upgrade).count(), 1);
    }

    #[test]
    fn settings_are_taken_over() {
        let names = names();
        names.configure(DnsSpec { family: DnsFamily::V6Only });
        assert_eq!(names.spec(), DnsSpec { family: DnsFamily::V6Only });
    }
}
