//! Clients that send requests continuously, over kept and over new connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use rustls::ClientConfig;

use crate::{Proxy, Raw, raw::TlsOptions, wait::until};

/// The numbers of requests that a client sends on one connection; the clients use them in turn.
const PER_CONNECTION: [usize; 3] = [1, 10, 100];

/// Running clients.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicUsize,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    fn failures(&self) -> MutexGuard<'_, Vec<String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Load {
    /// Starts clients that send `GET /` to `HOST.localhost.pomerium.io` over HTTP/1.1.
    pub fn start(proxy: &Proxy, host: &str, clients: usize) -> Self {
        let shared = Arc::<Shared>::default();
        let name = format!("{host}.localhost.pomerium.io");
        let clients = (0..clients)
            .map(|client| {
                let shared = Arc::clone(&shared);
                let (address, name) = (proxy.address(), name.clone());
                let per_connection = PER_CONNECTION[client % PER_CONNECTION.len()];
                thread::spawn(move || {
                    let config = TlsOptions::name(&name).alpn("http/1.1").config();
                    while !shared.stop.load(SeqCst) {
                        connection(address, &name, &config, per_connection, &shared);
                    }
                })
            })
            .collect();
        Self { shared, clients }
    }

    /// Waits until this number of further requests is answered, however long that takes.
    ///
    /// # Panics
    /// When a connection of the load has ended, or no request is answered before the deadline.
    pub fn wait_for(&self, more: usize) {
        let answered = || self.shared.answered.load(SeqCst);
        let target = answered() + more;
        while answered() < target {
            let before = answered();
            until("another request to be answered", || {
                let dead = self.clients.iter().any(thread::JoinHandle::is_finished);
                assert!(!dead, "a client failed: {:?}", self.shared.failures());
                answered() > before
            });
        }
    }

    /// Ends the load, whatever has become of its requests.
    pub fn stop(self) {
        self.shared.stop.store(true, SeqCst);
        // A client whose connection has ended has panicked.
        self.clients.into_iter().for_each(|client| drop(client.join()));
    }

    /// Ends the load.
    ///
    /// # Panics
    /// When a request was not answered by a `200`, or a connection has ended.
    pub fn finish(self) {
        self.shared.stop.store(true, SeqCst);
        for client in self.clients {
            client.join().expect("no connection of the load ended");
        }
        assert_eq!(*self.shared.failures(), Vec::<String>::new());
    }
}

fn connection(
    address: SocketAddr,
    name: &str,
    config: &Arc<ClientConfig>,
    requests: usize,
    shared: &Shared,
) {
    let mut raw = Raw::tls_with(address, Some(name), config)
        .unwrap_or_else(|end| panic!("handshake under load: {end:?}"));
    for _ in 0..requests {
        raw.send(format!("GET / HTTP/1.1\r\nHost: {name}\r\n\r\n"));
        // It panics if the connection ends, and `Load::finish` reports that.
        let response = raw.response();
        if response.status != 200 {
            shared.failures().push(format!("{} {}", response.status, response.text()));
        }
        shared.answered.fetch_add(1, SeqCst);
        if shared.stop.load(SeqCst) {
            return;
        }
    }
}
