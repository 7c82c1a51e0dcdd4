//! Keeps names resolved, on the control thread.

use std::{
    future::Future,
    net::{IpAddr, Ipv4Addr},
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{
        LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
    },
    net::{DnsError, NetError, NoRecords, runtime::TokioRuntimeProvider},
    proto::op::ResponseCode,
};
use tokio::task::JoinSet;

use super::{
    DnsName, DnsNames,
    schedule::{after_answer, after_failures, interleave},
};
use crate::{rt, upstream::DnsFamily};

/// Resolves every name of [`DnsNames`] again and again, each by its time to live.
#[derive(Debug)]
pub(crate) struct Resolver {}

impl Resolver {
    /// Never returns. Needs a tokio runtime with I/O and time; dropping the future cancels
    /// everything.
    pub(crate) async fn run(names: Arc<DnsNames>) {
        run_with(names, System).await;
    }
}

/// A source of answers: the system's DNS, or a test.
trait Answers: Clone + Send + Sync + 'static {
    fn answer(&self, host: &str, family: DnsFamily) -> impl Future<Output = Answer> + Send;
}

/// Addresses and their time to live, or the reason of the failure.
type Answer = Result<(Vec<IpAddr>, Duration), String>;

async fn run_with(names: Arc<DnsNames>, answers: impl Answers) {
    let mut tasks = JoinSet::new();
    loop {
        for name in names.take_unresolved() {
            tasks.spawn(keep_resolved(names.clone(), name, answers.clone()));
        }
        names.added.notified().await;
        while tasks.try_join_next().is_some() {} // those whose name is gone
    }
}

/// Ends when the name is no longer held.
async fn keep_resolved(names: Arc<DnsNames>, name: Weak<DnsName>, answers: impl Answers) {
    let mut failures = 0;
    while let Some(held) = name.upgrade() {
        let reconfigured = names.reconfigured.notified();
        let answer = {
            // It is never closed.
            let _turn = names.lookups.acquire().await;
            answers.answer(held.host(), names.spec().family).await
        };
        let wait = match &answer {
            Ok((_, ttl)) => {
                failures = 0;
                after_answer(*ttl)
            }
            Err(why) => {
                failures += 1;
                tracing::warn!(host = held.host(), failures, "cannot resolve an upstream: {why}");
                after_failures(failures)
            }
        };
        held.publish(answer.map(|(addresses, _)| interleave(addresses)));
        drop(held);
        // Resolve again after the delay or after a change of the settings.
        let _ = rt::timeout(wait, reconfigured).await;
    }
}

/// Resolves a name once; at least one address, in order of preference.
pub(super) async fn look_up(host: &str, family: DnsFamily) -> Result<Vec<IpAddr>, String> {
    let (addresses, _) = System.answer(host, family).await?;
    match addresses.is_empty() {
        true => Err("the answer holds no address".to_owned()),
        false => Ok(interleave(addresses)),
    }
}

/// `/etc/hosts` and the name servers of `/etc/resolv.conf`.
#[derive(Debug, Clone, Copy)]
struct System;

impl Answers for System {
    async fn answer(&self, host: &str, family: DnsFamily) -> Answer {
        let resolver = system_resolver(family).map_err(|error| error.to_string())?;
        let found = resolver.lookup_ip(host).await.map_err(|error| explain(&error))?;
        let ttl = found.valid_until().saturating_duration_since(Instant::now());
        Ok((found.iter().collect(), ttl))
    }
}

/// Why there are no addresses, in words; the library shows its own structures.
fn explain(error: &NetError) -> String {
    let NetError::Dns(DnsError::NoRecordsFound(NoRecords { response_code, .. })) = error else {
        return error.to_string();
    };
    match response_code {
        ResponseCode::NXDomain => "there is no such name (NXDOMAIN)".to_owned(),
        ResponseCode::NoError => "the name has no address".to_owned(),
        other => format!("the name server failed: {other}"),
    }
}

/// Built for each look-up, so that edits of either file take effect, as with `getaddrinfo`.
fn system_resolver(family: DnsFamily) -> Result<TokioResolver, NetError> {
    let mut builder = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        // Without a resolv.conf, ask this machine, as the C library does.
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![local]);
        TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
    });
    let options = builder.options_mut();
    options.ip_strategy = strategy(family);
    options.use_hosts_file = ResolveHosts::Always;
    options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
    options.cache_size = 0; // `DnsNames` is the cache
    builder.build()
}

/// Maps Pomerium's names to Envoy's behaviour.
fn strategy(family: DnsFamily) -> LookupIpStrategy {
    match family {
        DnsFamily::V4Preferred => LookupIpStrategy::Ipv4thenIpv6,
        DnsFamily::V4Only => LookupIpStrategy::Ipv4Only,
        DnsFamily::V6Only => LookupIpStrategy::Ipv6Only,
        DnsFamily::Auto => LookupIpStrategy::Ipv6thenIpv4,
        DnsFamily::All => LookupIpStrategy::Ipv6AndIpv4,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::upstream::{DnsSpec, dns::Resolution};

    /// Answers by family, and notes who asked.
    #[derive(Clone, Default)]
    struct Fake {
        asked: Arc<Mutex<Vec<(String, DnsFamily)>>>,
    }

    impl Answers for Fake {
        async fn answer(&self, host: &str, family: DnsFamily) -> Answer {
            self.asked.lock().unwrap().push((host.to_owned(), family));
            match family {
                DnsFamily::V6Only => Ok((vec!["::1".parse().unwrap()], LONG)),
                _ if host == "bad.example" => Err("no such name".to_owned()),
                _ => Ok((vec!["127.0.0.1".parse().unwrap()], LONG)),
            }
        }
    }

    const LONG: Duration = Duration::from_secs(3600);

    /// Runs `test` beside the resolver.
    fn beside_resolver<F: Future<Output = ()>>(test: impl FnOnce(Arc<DnsNames>, Fake) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let names = Arc::new(DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred }));
            let answers = Fake::default();
            let resolver = tokio::spawn(run_with(names.clone(), answers.clone()));
            test(names, answers).await;
            assert!(!resolver.is_finished());
        });
    }

    fn addresses(texts: &[&str]) -> Resolution {
        Resolution::Addresses(texts.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn names_are_resolved_whether_added_before_or_while_it_runs() {
        beside_resolver(|names, _| async move {
            let first = names.name("a.example");
            assert_eq!(*first.resolved().await, addresses(&["127.0.0.1"]));
            let second = names.name("b.example");
            assert_eq!(*second.resolved().await, addresses(&["127.0.0.1"]));
        });
    }

    #[test]
    fn a_failure_is_told_with_its_reason() {
        beside_resolver(|names, _| async move {
            let name = names.name("bad.example");
            assert_eq!(*name.resolved().await, Resolution::Failed("no such name".to_owned()));
        });
    }

    #[test]
    fn a_name_without_records_is_told_in_words() {
        use hickory_resolver::proto::{
            op::Query,
            rr::{Name, RecordType},
        };
        let query = || Query::query(Name::root(), RecordType::AAAA);
        let error = |code| NetError::from(NoRecords::new(query(), code));
        assert_eq!(explain(&error(ResponseCode::NXDomain)), "there is no such name (NXDOMAIN)");
        assert_eq!(explain(&error(ResponseCode::NoError)), "the name has no address");
    }

    #[test]
    fn new_settings_resolve_every_name_anew_at_once() {
        beside_resolver(|names, answers| async move {
            let name = names.name("a.example");
            name.resolved().await;
            names.configure(DnsSpec { family: DnsFamily::V6Only });
            while **name.current() != addresses(&["::1"]) {
                tokio::task::yield_now().await;
            }
            assert_eq!(answers.asked.lock().unwrap().len(), 2);
        });
    }

    #[test]
    fn a_name_that_nobody_holds_is_not_asked_for() {
        beside_resolver(|names, answers| async move {
            drop(names.name("gone.example"));
            names.name("a.example").resolved().await;
            assert!(answers.asked.lock().unwrap().iter().all(|(host, _)| host == "a.example"));
        });
    }
}
