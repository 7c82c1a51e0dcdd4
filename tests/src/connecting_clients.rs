//! Clients that make a new connection for each request.

use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Instant,
};

use rustls::ClientConfig;

use crate::{Raw, raw::TlsOptions, wait::until, wire::End};

/// Clients with a connection for each request, until they are told to stop. Each is to be answered
/// with a redirect (301).
#[derive(Debug)]
pub struct ConnectingClients {
    host: String,
    stop: AtomicBool,
    served: AtomicUsize,
}

/// A connection without the answer.
#[derive(Debug)]
pub struct LostConnection {
    /// Before the client connected.
    pub begun: Instant,
    /// What became of it.
    pub problem: String,
}

impl ConnectingClients {
    /// They ask for this host.
    pub fn of(host: &str) -> Self {
        Self { host: host.to_owned(), stop: AtomicBool::new(false), served: AtomicUsize::new(0) }
    }

    /// Is one client: connects and sends a request, again and again, until told to stop. Gives the
    /// connections that were lost.
    pub fn run(&self, addresses: &[SocketAddr]) -> Vec<LostConnection> {
        let config = TlsOptions::name("resumed").alpn("http/1.1").config();
        let mut lost = Vec::new();
        for address in addresses.iter().cycle() {
            if self.stop.load(SeqCst) {
                break;
            }
            let begun = Instant::now();
            match self.request(*address, &config) {
                Ok(()) => {
                    self.served.fetch_add(1, SeqCst);
                }
                Err(problem) => lost.push(LostConnection { begun, problem }),
            }
        }
        lost
    }

    fn request(&self, address: SocketAddr, config: &Arc<ClientConfig>) -> Result<(), String> {
        let tcp = TcpStream::connect(address).map_err(|error| error.to_string())?;
        let raw = Raw::over(tcp).start_tls_with(&self.host, config);
        let mut raw = raw.map_err(|end| format!("{end:?}"))?;
        let host = &self.host;
        raw.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
        let answer = raw.to_end();
        match answer.end {
            End::Clean if answer.response().status == 301 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    }

    /// Answers so far.
    pub fn served(&self) -> usize {
        self.served.load(SeqCst)
    }

    /// Waits for further answers.
    ///
    /// # Panics
    /// When there are none before the deadline.
    pub fn wait_for(&self, more: usize) {
        let target = self.served() + more;
        until("more to be served", || self.served() >= target);
    }

    /// Tells them to stop after their current connection.
    pub fn stop(&self) {
        self.stop.store(true, SeqCst);
    }
}

/// Stops the clients when it is dropped, also if the test fails: a scope waits for them.
#[derive(Debug)]
pub struct StopAtEnd<'a>(pub &'a ConnectingClients);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
