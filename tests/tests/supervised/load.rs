//! Connections that arrive during an act, and what becomes of them.

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use portcullis_tests::{ConnectingClients, LostConnection, StopAtEnd, netns::private};

pub(crate) const HOST: &str = "app.localhost.pomerium.io";
const CLIENTS: usize = 6;

/// What became of the connections during one act.
pub(crate) struct Counted {
    pub(crate) served: usize,
    /// Begun after the act began.
    pub(crate) lost: Vec<LostConnection>,
    /// Begun before it.
    pub(crate) died: Vec<LostConnection>,
    pub(crate) took: Duration,
}

impl Counted {
    /// Connections from before that time were the process's own, and died with it.
    pub(crate) fn forgive_before(&mut self, time: Instant) {
        let lost = std::mem::take(&mut self.lost);
        let (died, lost): (Vec<_>, Vec<_>) = lost.into_iter().partition(|it| it.begun < time);
        self.died.extend(died);
        self.lost = lost;
    }

    /// A line of the table.
    pub(crate) fn print(&self, act: &str) {
        let Counted { served, lost, died, took } = self;
        let (lost, died, took_ms) = (lost.len(), died.len(), took.as_millis());
        println!("| {act} | {served} | {lost} | {died} | {took_ms} ms |");
    }

    /// Nothing was lost that should not be.
    pub(crate) fn verify(&self, act: &str, may_die: bool, log: impl Fn() -> String) {
        assert!(self.lost.is_empty(), "{act}: {:#?}\n{}", self.lost, log());
        assert!(may_die || self.died.is_empty(), "{act}: {:#?}\n{}", self.died, log());
    }
}

/// Does something under load. The clients go on until 200 more connections are served.
pub(crate) fn under_load(act: impl FnOnce()) -> Counted {
    let v4 = SocketAddr::from(([127, 0, 0, 1], 443));
    let v6 = SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], 443));
    let clients = ConnectingClients::of(HOST);
    let (mut begun, mut took) = (Instant::now(), Duration::ZERO);
    let lost: Vec<LostConnection> = thread::scope(|scope| {
        let _stop = StopAtEnd(&clients);
        let threads: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| clients.run(&[v4, v6]))).collect();
        clients.wait_for(100);
        begun = Instant::now();
        act();
        took = begun.elapsed();
        clients.wait_for(200);
        clients.stop();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let (died, lost) = lost.into_iter().partition(|lost| lost.begun < begun);
    Counted { served: clients.served(), lost, died, took }
}

/// Runs a test in a network of its own, as a machine with the package has it.
pub(crate) fn in_a_network(inside: impl FnOnce() + Send) {
    private(|network| {
        network.sysctl("ipv4/tcp_migrate_req", "1");
        network.ip("link set lo mtu 1500"); // a SYN cookie does not keep loopback's segment size
        inside();
    });
}
