use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
};

use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::{
    conn::Accepted,
    listener::{ListenSpec, Service},
    observe::{LogSpec, Metrics, RefusedReason, RouteMetrics},
    steering::{ModeChoice, SteeringRules, SteeringSpec},
};

/// The control thread's side of one worker, and the worker's inputs.
struct Place {
    listener: Listener,
    address: SocketAddr,
    snapshot: watch::Sender<Arc<Snapshot>>,
    phase: watch::Sender<ProcessPhase>,
    metrics: Metrics,
    log: Log,
    open_connections: OpenConnections,
    steering: Arc<Steering>,
    mailboxes: Mailboxes<Accepted>,
}

/// Two workers, of which the second is under test.
const ID: usize = 1;

impl Place {
    fn new() -> Place {
        let addresses = vec!["127.0.0.1:0".parse().unwrap()];
        let mut listeners =
            ListenSpec { addresses, redirect_address: None }.bind_with(|_| None).unwrap();
        let listener = listeners.remove(0);
        listener.listen().unwrap();
        let address = socket2::SockRef::from(&listener.socket).local_addr().unwrap();
        let rules = Arc::new(SteeringRules::new(&SteeringSpec::default(), 2).unwrap());
        let steering =
            Steering::start(ModeChoice::Handoff, &[], 2, Arc::clone(&rules), Ok(())).unwrap();
        let front = conn::ListenerConfig { tls: None, settings: connections(), steering: rules };
        let site = http::RequestConfig::new(
            requests(),
            Vec::new(),
            Arc::new(RouteMetrics::new(2)),
            Arc::default(),
        );
        let snapshot = Snapshot { generation: 1, front: Arc::new(front), site: Arc::new(site) };
        let metrics = Metrics::new(2);
        let log = LogSpec { access: crate::observe::Level::Off, ..LogSpec::default() };
        Place {
            listener,
            address: address.as_socket().unwrap(),
            snapshot: watch::channel(Arc::new(snapshot)).0,
            phase: watch::channel(ProcessPhase::Running).0,
            log: Log::start(log, &metrics).unwrap(),
            metrics,
            open_connections: OpenConnections::new(2),
            steering: Arc::new(steering),
            mailboxes: Mailboxes::new(2),
        }
    }

    fn spec(&self) -> WorkerSpec {
        WorkerSpec {
            id: ID,
            core: None,
            listeners: vec![self.listener.try_clone().unwrap()],
            snapshot: self.snapshot.subscribe(),
            phase: self.phase.subscribe(),
            metrics: self.metrics.worker(ID).unwrap(),
            log: self.log.clone(),
            open_connections: self.open_connections.clone(),
            steering: Arc::clone(&self.steering),
            identity: IdentityHandle::detached(),
            mailboxes: self.mailboxes.clone(),
            upstream_connections: 10,
        }
    }

    /// A client whose connection is in the queue, with its request sent.
    fn connect(&self) -> TcpStream {
        asking(self.address)
    }

    /// A client whose connection is handed over by the other worker.
    fn hand_over(&self) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = asking(listener.local_addr().unwrap());
        let (socket, peer) = listener.accept().unwrap();
        let accepted = Accepted {
            socket: socket.into(),
            peer,
            service: Service::Routes,
            since: Instant::now(),
            admission: WorkerConnections::new(self.open_connections.clone(), 0).admit(),
            hello: None,
        };
        let observer = Rc::new(WorkerObserver::detached(0));
        let other = conn::ConnectionSteering::new(
            Arc::clone(&self.steering),
            self.mailboxes.clone(),
            observer,
        );
        other.hand_to(ID as u32, accepted).expect("a queue that takes it");
        client
    }
}

fn asking(address: SocketAddr) -> TcpStream {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    client
}

fn answer(mut client: TcpStream) -> String {
    let mut answer = String::new();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    client.read_to_string(&mut answer).expect("an answer, and no reset");
    answer
}

fn connections() -> conn::ConnectionSettings {
    let long = Duration::from_secs(60);
    conn::ConnectionSettings {
        handshake_timeout: long,
        header_timeout: long,
        idle_timeout: None,
        drain_timeout: long,
        max_connections: 100,
        max_connections_per_worker: 100,
        max_header_bytes: 16 << 10,
        max_headers: 100,
        codec: crate::tls::Codec::Auto,
        h2_max_concurrent_streams: 10,
        h2_stream_window_bytes: 65_535,
        h2_connection_window_bytes: 65_535,
    }
}

fn requests() -> http::RequestSettings {
    http::RequestSettings {
        certificate_identity: None,
        policy_list_len: 0,
        branding: Default::default(),
        read_timeout: None,
        stream_timeout: None,
        upstream_timeout: None,
        max_headers: 100,
        max_response_headers: 100,
        passed_forwarding: Vec::new(),
        normalize_path: true,
        merge_slashes: true,
        escaped_slashes: http::EscapedSlashes::Reject,
        underscores: http::Underscores::Allow,
        forwarded_for: http::ForwardedFor { skip_append: false, trusted_hops: 0 },
        response_headers: Vec::new(),
        identity_headers: Vec::new(),
    }
}

/// Runs a worker, then makes it panic.
fn start_faulty(spec: WorkerSpec) -> (oneshot::Sender<()>, JoinHandle<()>) {
    let (fault, faulty) = oneshot::channel::<()>();
    let thread = thread::spawn(move || {
        rt::Runtime::new().unwrap().block_on(async {
            tokio::select! {
                () = Worker::new(spec).serve(|| {}) => {}
                _ = faulty => panic!("the fault of a worker"),
            }
        });
    });
    (fault, thread)
}

#[test]
fn a_connection_without_an_address_is_refused_and_counted() {
    let place = Place::new();
    let mut worker = Worker::new(place.spec());
    let listener = worker.listeners.remove(0);
    let acceptor =
        accept::AcceptLoop::new(listener, Rc::clone(&worker.server), place.phase.subscribe());
    let (socket, mut client) = std::os::unix::net::UnixStream::pair().unwrap();
    acceptor.take(rt::AcceptedSocket { socket: socket.into(), peer: None });
    let refused = &worker.server.observer.metrics.connections_refused;
    assert_eq!(refused.get(RefusedReason::UnknownPeer), 1);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "it is closed");
    assert!(worker.server.registry.is_empty());
}

#[test]
fn queued_connections_survive_their_workers_panic() {
    let place = Place::new();
    let (fault, thread) = start_faulty(place.spec());
    for client in [place.connect(), place.hand_over()] {
        assert!(answer(client).starts_with("HTTP/1.1 404"), "it serves");
    }
    fault.send(()).unwrap();
    thread.join().expect_err("it panics");
    let waiting: Vec<_> = (0..20).flat_map(|_| [place.connect(), place.hand_over()]).collect();
    let (ended, mut ends) = mpsc::unbounded_channel();
    let thread = start(place.spec(), ended).unwrap();
    for client in waiting {
        let answer = answer(client);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    place.phase.send_replace(ProcessPhase::Draining { replaced: false, kept: false });
    thread.join().unwrap();
    assert_eq!(ends.try_recv(), Ok(ID), "that it has ended is told");
    assert_eq!(place.open_connections.count(), 0);
}

#[test]
fn what_waits_when_a_worker_is_told_to_drain_is_served() {
    let place = Place::new();
    let waiting: Vec<_> = (0..20).flat_map(|_| [place.connect(), place.hand_over()]).collect();
    place.phase.send_replace(ProcessPhase::Draining { replaced: false, kept: false });
    let thread = start(place.spec(), mpsc::unbounded_channel().0).unwrap();
    for client in waiting {
        let answer = answer(client);
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    }
    thread.join().unwrap();
}
