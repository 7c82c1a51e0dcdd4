//! Test helpers of this room: an upstream in memory, and clusters.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};

use tokio::sync::mpsc;

use super::{
    BalancePolicy, Cluster, ClusterCompiler, ClusterSpec, DnsFamily, DnsNames, DnsSpec,
    EjectionProposal, EjectionSender, EndpointAddress, EndpointSpec, FormerCluster, Protocol,
    ResilienceSpec, StagedEndpoints,
};
use crate::{observe::EndpointRegistry, tls::ObservedRead};

/// An endpoint at an address or, if it is not an address, at a name.
pub(super) fn endpoint(address: &str) -> EndpointSpec {
    EndpointSpec {
        authority: address.into(),
        address: match address.parse() {
            Ok(ip) => EndpointAddress::Ip(ip),
            Err(_) => EndpointAddress::Name(address.into(), 443),
        },
        weight: 1,
        tls: None,
        protocol: Protocol::Auto,
    }
}

pub(super) fn cluster(endpoints: Vec<EndpointSpec>, balance: BalancePolicy) -> Arc<Cluster> {
    staged(endpoints, balance, None).0
}

/// A set of endpoints for a cluster that stays.
pub(super) fn next_endpoints(
    cluster: &Arc<Cluster>,
    endpoints: Vec<EndpointSpec>,
    balance: BalancePolicy,
) -> StagedEndpoints {
    let (_, mut staged) = staged(endpoints, balance, Some(cluster));
    staged.pop().expect("the cluster stays")
}

/// A cluster whose endpoints are watched as `resilience` says, and what workers propose.
pub(super) fn watched_cluster(
    endpoints: Vec<EndpointSpec>,
    balance: BalancePolicy,
    resilience: ResilienceSpec,
) -> (Arc<Cluster>, mpsc::Receiver<EjectionProposal>) {
    let (ejections, proposals) = EjectionSender::channel();
    let endpoints = endpoints.into_iter().map(Arc::new).collect();
    let resilience = Some(Arc::new(resilience));
    let spec = ClusterSpec { balance, resilience, ..spec(endpoints) };
    (compiled(spec, None, &ejections).0, proposals)
}

fn staged(
    endpoints: Vec<EndpointSpec>,
    balance: BalancePolicy,
    former: Option<&Arc<Cluster>>,
) -> (Arc<Cluster>, Vec<StagedEndpoints>) {
    let endpoints = endpoints.into_iter().map(Arc::new).collect();
    let spec = ClusterSpec { balance, ..spec(endpoints) };
    compiled(spec, former, &EjectionSender::detached())
}

fn compiled(
    spec: ClusterSpec,
    former: Option<&Arc<Cluster>>,
    ejections: &EjectionSender,
) -> (Arc<Cluster>, Vec<StagedEndpoints>) {
    let names = DnsNames::new(DnsSpec { family: DnsFamily::V4Preferred });
    let registry = Arc::new(EndpointRegistry::new(1));
    let mut compiler = ClusterCompiler::new(&names, &registry, ejections);
    let former = former.map(|cluster| FormerCluster { cluster, is_same_route: true });
    let cluster = compiler.compile(&"a".into(), &Arc::new(spec), || former);
    (cluster, compiler.finish().staged)
}

/// In turn, to these.
pub(super) fn spec(endpoints: Vec<Arc<EndpointSpec>>) -> ClusterSpec {
    let (balance, connect_timeout) = (BalancePolicy::RoundRobin, Duration::from_secs(10));
    ClusterSpec { endpoints: endpoints.into(), balance, connect_timeout, resilience: None }
}

/// Runs a test that spawns local tasks.
pub(super) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Runs every task until it waits.
pub(super) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The proxy's end of a connection in memory.
#[derive(Debug)]
pub(super) struct Io(Rc<RefCell<Wire>>);

/// The upstream's end, in the hands of the test.
#[derive(Debug)]
pub(super) struct Peer(Rc<RefCell<Wire>>);

#[derive(Debug, Default)]
struct Wire {
    /// Withheld until the proxy has written something.
    answer: VecDeque<u8>,
    to_proxy: VecDeque<u8>,
    /// The result of a read after the last byte.
    end: Option<Option<io::ErrorKind>>,
    from_proxy: Vec<u8>,
    closed: bool,
    reader: Option<Waker>,
}

pub(super) fn connection() -> (Io, Peer) {
    let wire = Rc::default();
    (Io(Rc::clone(&wire)), Peer(wire))
}

impl Peer {
    /// Answers the next write.
    pub(super) fn answer(&self, text: &str) {
        self.0.borrow_mut().answer.extend(text.as_bytes());
    }

    /// Sends now, or behind a withheld answer.
    pub(super) fn send(&self, text: &str) {
        self.change(|wire| {
            let waits = !wire.answer.is_empty();
            let queue = if waits { &mut wire.answer } else { &mut wire.to_proxy };
            queue.extend(text.as_bytes());
        });
    }

    /// Ends in good order.
    pub(super) fn finish(&self) {
        self.change(|wire| wire.end = Some(None));
    }

    /// Ends as a TLS stream does without close_notify, or as a reset connection.
    pub(super) fn break_off(&self, how: io::ErrorKind) {
        self.change(|wire| wire.end = Some(Some(how)));
    }

    /// The bytes received since the last call.
    pub(super) fn received(&self) -> String {
        String::from_utf8(std::mem::take(&mut self.0.borrow_mut().from_proxy)).unwrap()
    }

    /// The proxy has closed its end.
    pub(super) fn is_closed(&self) -> bool {
        self.0.borrow().closed
    }

    fn change(&self, change: impl FnOnce(&mut Wire)) {
        let mut wire = self.0.borrow_mut();
        change(&mut wire);
        let reader = wire.reader.take();
        drop(wire);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Read for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_read_observed(cx, buf, &mut |_| ())
    }
}

impl ObservedRead for Io {
    fn poll_read_observed(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
        observe: &mut dyn FnMut(&[u8]),
    ) -> Poll<io::Result<()>> {
        let mut wire = self.0.borrow_mut();
        let count = buf.remaining().min(wire.to_proxy.len());
        if count > 0 {
            let bytes: Vec<_> = wire.to_proxy.drain(..count).collect();
            buf.put_slice(&bytes);
            observe(&bytes);
            return Poll::Ready(Ok(()));
        }
        match wire.end.filter(|_| wire.answer.is_empty()) {
            Some(None) => Poll::Ready(Ok(())),
            Some(Some(kind)) => Poll::Ready(Err(kind.into())),
            None => {
                wire.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Write for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut wire = self.0.borrow_mut();
        wire.from_proxy.extend_from_slice(buf);
        let answer = std::mem::take(&mut wire.answer);
        wire.to_proxy.extend(answer);
        let reader = wire.reader.take();
        drop(wire);
        if let Some(reader) = reader {
            reader.wake();
        }
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Io {
    fn drop(&mut self) {
        self.0.borrow_mut().closed = true;
    }
}

pub(super) fn single(spec: EndpointSpec) -> Arc<Cluster> {
    cluster(vec![spec], BalancePolicy::RoundRobin)
}
