//! The loops.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, StreamOwned, client::Resumption,
    pki_types::ServerName,
};

use crate::Work;

/// What every loop does.
pub(crate) struct Plan {
    pub(crate) work: Work,
    pub(crate) address: SocketAddr,
    /// Connections take them in turn.
    pub(crate) hosts: Vec<Host>,
    pub(crate) next_host: AtomicUsize,
    pub(crate) body_bytes: usize,
    /// Where the time is over before, so many units end the run.
    pub(crate) max_units: u64,
    pub(crate) units: AtomicU64,
    pub(crate) config: Arc<ClientConfig>,
}

/// A name that the server has.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: ServerName<'static>,
    /// A request without a body.
    pub(crate) request: String,
}

/// What the loops did.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) units: u64,
    pub(crate) resumed: u64,
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Plan {
    /// Runs that many loops side by side. The first thing that is not as it should be ends all.
    pub(crate) fn run(&self, connections: usize, time: Duration) -> Result<Done> {
        let end = Instant::now() + time;
        thread::scope(|scope| {
            let loops: Vec<_> =
                (0..connections).map(|_| scope.spawn(move || self.run_one(end))).collect();
            let mut sum = Done::default();
            for one in loops {
                let done = one.join().map_err(|_| anyhow!("a loop panicked"))??;
                sum.units += done.units;
                sum.resumed += done.resumed;
            }
            Ok(sum)
        })
    }

    fn run_one(&self, end: Instant) -> Result<Done> {
        let mut done = Done::default();
        match self.work {
            Work::KeepAlive => {
                let host = self.host()?;
                let mut tls = self.connect(host, &self.config)?;
                while self.goes_on(end) {
                    self.exchange(&mut tls, host)?;
                    done.units += 1;
                }
            }
            Work::Refused => {
                while self.goes_on(end) {
                    self.be_refused()?;
                    done.units += 1;
                }
            }
            Work::FullHandshake | Work::ResumedHandshake => {
                // Each loop has tickets of its own.
                let mut config = ClientConfig::clone(&self.config);
                if self.work == Work::ResumedHandshake {
                    config.resumption = Resumption::in_memory_sessions(4);
                }
                let config = Arc::new(config);
                while self.goes_on(end) {
                    let host = self.host()?;
                    let mut tls = self.connect(host, &config)?;
                    self.exchange(&mut tls, host)?;
                    let resumed = tls.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                    done.units += 1;
                    done.resumed += u64::from(resumed);
                    // The client closes first, without having asked the server to, so that
                    // TIME_WAIT is its own: a SYN into the server's goes past SYN cookies.
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                }
            }
        }
        Ok(done)
    }

    /// Counts the unit that begins where there is to be another.
    fn goes_on(&self, end: Instant) -> bool {
        Instant::now() < end && self.units.fetch_add(1, Ordering::Relaxed) < self.max_units
    }

    fn host(&self) -> Result<&Host> {
        let turn = self.next_host.fetch_add(1, Ordering::Relaxed);
        self.hosts.get(turn % self.hosts.len().max(1)).context("no host")
    }

    fn connect(&self, host: &Host, config: &Arc<ClientConfig>) -> Result<Tls> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_nodelay(true)?;
        let client = ClientConnection::new(Arc::clone(config), host.name.clone())?;
        Ok(StreamOwned::new(client, socket))
    }

    /// A reset before any of the handshake, or an alert in answer to the hello.
    fn be_refused(&self) -> Result<()> {
        let mut tls = self.connect(self.host()?, &self.config)?;
        let handshake = tls.conn.complete_io(&mut tls.sock);
        ensure!(handshake.is_err(), "the name was not refused");
        Ok(())
    }

    fn exchange(&self, tls: &mut Tls, host: &Host) -> Result<()> {
        tls.write_all(host.request.as_bytes())?;
        let mut head = Vec::new();
        let mut chunk = [0; 16 * 1024];
        let body_from = loop {
            let n = tls.read(&mut chunk)?;
            ensure!(n > 0, "the connection ended within a head");
            head.extend_from_slice(&chunk[..n]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = std::str::from_utf8(&head[..body_from])?;
        ensure!(text.starts_with("HTTP/1.1 200"), "not a 200: {text}");
        let length = text
            .lines()
            .find_map(|line| {
                line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned)
            })
            .context("no Content-Length")?;
        ensure!(length.trim().parse::<usize>()? == self.body_bytes, "another length: {length}");
        let mut missing = self.body_bytes - (head.len() - body_from);
        while missing > 0 {
            let room = missing.min(chunk.len());
            let n = tls.read(&mut chunk[..room])?;
            ensure!(n > 0, "the connection ended within a body");
            missing -= n;
        }
        Ok(())
    }
}
