//! One name and its last resolution.

use std::{net::IpAddr, sync::Arc};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

/// A name to resolve.
#[derive(Debug)]
pub(crate) struct DnsName {
    host: Box<str>,
    resolution: ArcSwap<Resolution>,
    published: Notify,
}

/// The last resolution of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolution {
    /// It has not been resolved yet.
    Pending,
    /// Its addresses, at least one, in order of preference.
    Addresses(Vec<IpAddr>),
    /// It has never resolved; the text says why, for the log.
    Failed(String),
}

impl DnsName {
    pub(super) fn new(host: &str) -> DnsName {
        let resolution = ArcSwap::from_pointee(Resolution::Pending);
        DnsName { host: host.into(), resolution, published: Notify::new() }
    }

    /// As configured, lower case.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The current resolution. Takes no lock.
    pub(crate) fn current(&self) -> Guard<Arc<Resolution>> {
        self.resolution.load()
    }

    /// The current resolution; waits only for the first one.
    pub(crate) async fn resolved(&self) -> Arc<Resolution> {
        loop {
            // Registers before it looks: otherwise an answer between the two would be missed.
            let published = self.published.notified();
            let current = self.resolution.load_full();
            if *current != Resolution::Pending {
                return current;
            }
            published.await;
        }
    }

    /// Stores an answer. A failure does not replace known addresses: during an outage of DNS,
    /// upstreams stay reachable.
    pub(in crate::upstream) fn publish(&self, answer: Result<Vec<IpAddr>, String>) {
        let next = match answer {
            Ok(addresses) if !addresses.is_empty() => Resolution::Addresses(addresses),
            Ok(_) => Resolution::Failed("the answer holds no address".to_owned()),
            Err(why) => Resolution::Failed(why),
        };
        let current = self.resolution.load();
        let keep = matches!((&**current, &next), (Resolution::Addresses(_), Resolution::Failed(_)));
        if !keep {
            self.resolution.store(Arc::new(next));
        }
        self.published.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use super::*;

    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn found() -> Resolution {
        Resolution::Addresses(vec![ADDRESS])
    }

    #[test]
    fn whoever_waits_gets_the_first_answer() {
        let name = DnsName::new("app");
        let mut waiting = pin!(name.resolved());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        name.publish(Ok(vec![ADDRESS]));
        assert_eq!(waiting.poll(&mut cx), Poll::Ready(Arc::new(found())));
    }

    #[test]
    fn a_first_failure_is_an_answer_as_well() {
        let name = DnsName::new("app");
        name.publish(Err("no such name".to_owned()));
        let mut cx = Context::from_waker(Waker::noop());
        let failed = Resolution::Failed("no such name".to_owned());
        assert_eq!(pin!(name.resolved()).poll(&mut cx), Poll::Ready(Arc::new(failed)));
    }

    #[test]
    fn known_addresses_survive_a_failure() {
        let name = DnsName::new("app");
        name.publish(Ok(vec![ADDRESS]));
        name.publish(Err("timeout".to_owned()));
        name.publish(Ok(Vec::new()));
        assert_eq!(**name.current(), found());
    }

    #[test]
    fn addresses_displace_a_failure() {
        let name = DnsName::new("app");
        name.publish(Ok(Vec::new()));
        assert!(matches!(**name.current(), Resolution::Failed(_)));
        name.publish(Ok(vec![ADDRESS]));
        assert_eq!(**name.current(), found());
    }
}
