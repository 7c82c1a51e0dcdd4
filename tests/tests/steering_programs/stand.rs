//! Listening sockets with both programs attached, and clients that can send any bytes.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
};

use portcullis::facade::steering::Kernel;
use portcullis_abi::{
    Balance, Home, HostName, NameKey, SteeringSettings, Verdict, WorkerSet, cases::Hello,
};
use portcullis_tests::{
    netns::{Network, private},
    tools::require_root,
    wait::DEADLINE,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

/// Runs a test in its own network, if that is possible.
pub(crate) fn in_network(test: impl FnOnce(&Network) + Send) {
    if require_root("kernel steering: BPF programs and network namespaces need root") {
        private(test);
    }
}

pub(crate) const WORKERS: u32 = 4;

pub(crate) const SETTINGS: SteeringSettings = SteeringSettings {
    balance: Balance { workers: WORKERS, max_load_percent: 125 },
    refuse_unknown: 0,
    closed: 0,
    catching: 0,
};

/// An address with a socket for each worker.
pub(crate) struct Group {
    pub(crate) address: SocketAddr,
    listeners: Vec<Option<TcpListener>>,
}

/// The part of the proxy towards the programs.
pub(crate) struct Stand {
    pub(crate) kernel: Kernel,
    pub(crate) groups: Vec<Group>,
}

/// A connection and the worker whose socket accepted it.
pub(crate) struct Accepted {
    pub(crate) worker: u32,
    pub(crate) stream: TcpStream,
}

impl Stand {
    /// Programs on one address, in a network with steering, with the names of [`hosts`].
    pub(crate) fn new(network: &Network, address: &str) -> Self {
        network.sysctl("ipv4/tcp_syncookies", "2");
        Self::on(&[address], &hosts())
    }

    /// Programs on any addresses, with any names, in any network.
    pub(crate) fn on(addresses: &[&str], names: &[(NameKey, Home)]) -> Self {
        Self::around(addresses.iter().map(|address| Group::listen(address)).collect(), names)
    }

    /// Programs attached to sockets that listen already.
    pub(crate) fn around(groups: Vec<Group>, names: &[(NameKey, Home)]) -> Self {
        let sockets: Vec<Vec<_>> = groups.iter().map(Group::sockets).collect();
        let kernel = Kernel::attach(&sockets, SETTINGS, names).expect("programs that load");
        for slot in &kernel.slots()[..WORKERS as usize] {
            slot.set_available(true);
        }
        Self { kernel, groups }
    }

    /// A client of the first address, whose writes are segments.
    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.groups[0].address)
    }

    /// Connects and sends.
    pub(crate) fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut client = self.connect();
        client.write_all(bytes).expect("room to send");
        client
    }

    /// The next connection to the first address.
    pub(crate) fn accept(&self) -> Accepted {
        self.groups[0].accept()
    }

    /// Sends this client's hello and accepts the connection, which must be whole.
    pub(crate) fn worker_for(&self, name: &str) -> u32 {
        let hello = hello(name);
        let mut client = self.send(&hello);
        let mut accepted = self.accept();
        accepted.expect(&hello);
        accepted.converse(&mut client);
        accepted.worker
    }

    /// Closes the socket of a worker without an update of the program's table.
    pub(crate) fn kill(&mut self, worker: u32) {
        self.groups[0].listeners[worker as usize] = None;
    }

    /// The number of segments with this verdict.
    pub(crate) fn count(&self, verdict: Verdict) -> u64 {
        self.kernel.counters().expect("counters")[verdict as usize]
    }
}

impl Group {
    pub(crate) fn listen(address: &str) -> Self {
        let mut address: SocketAddr = address.parse().expect("an address");
        let listeners = (0..WORKERS).map(|_| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
            if address.is_ipv6() {
                socket.set_only_v6(!address.ip().is_unspecified()).unwrap();
            }
            socket.set_reuse_address(true).unwrap();
            socket.set_reuse_port(true).unwrap();
            socket.bind(&address.into()).expect("an address to listen on");
            socket.listen(4096).unwrap();
            let listener = TcpListener::from(socket);
            address = listener.local_addr().unwrap();
            Some(listener)
        });
        Self { listeners: listeners.collect(), address }
    }

    /// A listener beside those of the workers.
    pub(crate) fn beside(&self) -> TcpListener {
        let socket = Socket::new(Domain::for_address(self.address), Type::STREAM, None).unwrap();
        socket.set_reuse_address(true).unwrap();
        socket.set_reuse_port(true).unwrap();
        socket.bind(&self.address.into()).expect("the address of the group");
        socket.listen(4096).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.into()
    }

    fn sockets(&self) -> Vec<std::os::fd::BorrowedFd<'_>> {
        self.listeners.iter().flatten().map(AsFd::as_fd).collect()
    }

    /// The next connection to any worker.
    pub(crate) fn accept(&self) -> Accepted {
        let alive =
            (0..).zip(&self.listeners).filter_map(|(worker, l)| Some((worker, l.as_ref()?)));
        let alive: Vec<(u32, &TcpListener)> = alive.collect();
        let mut polled: Vec<_> =
            alive.iter().map(|(_, listener)| PollFd::new(*listener, PollFlags::IN)).collect();
        let deadline = Timespec { tv_sec: DEADLINE.as_secs() as i64, tv_nsec: 0 };
        assert!(poll(&mut polled, Some(&deadline)).unwrap() > 0, "waited in vain to accept");
        let ready = polled.iter().position(|polled| !polled.revents().is_empty()).unwrap();
        let (worker, listener) = alive[ready];
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Accepted { worker, stream }
    }
}

impl Accepted {
    /// Receives exactly these bytes.
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut received = vec![0; bytes.len()];
        self.stream.read_exact(&mut received).expect("everything that was sent");
        assert!(received == bytes, "other bytes than were sent");
    }

    /// Answers, and checks that the client gets the answer: the connection is whole.
    pub(crate) fn converse(&mut self, client: &mut TcpStream) {
        self.stream.write_all(b"answer").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).expect("the answer");
        assert_eq!(&answer, b"answer");
    }
}

/// A client whose writes are segments.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect_timeout(&address, DEADLINE).expect("a connection");
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(DEADLINE)).unwrap();
    client
}

/// `host0.example.com` to `host3.example.com`, one for each worker.
pub(crate) fn hosts() -> Vec<(NameKey, Home)> {
    (0..WORKERS).map(|worker| pinned(&host(worker), worker)).collect()
}

pub(crate) fn host(worker: u32) -> String {
    format!("host{worker}.example.com")
}

/// The hello with a name.
pub(crate) fn hello(name: &str) -> Vec<u8> {
    Hello::to(name.as_bytes()).record()
}

/// A name that only this worker may get.
pub(crate) fn pinned(name: &str, worker: u32) -> (NameKey, Home) {
    let among = WorkerSet::EMPTY.with(worker);
    (key(name), Home::of_name(name.as_bytes(), among))
}

/// The key of one name, read from a hello in the same way as by the program.
pub(crate) fn key(name: &str) -> NameKey {
    let mut host = HostName::EMPTY;
    portcullis_abi::sni(hello(name).as_slice(), 0, &mut host);
    assert_eq!(host.as_str(), name);
    let mut key = NameKey::EMPTY;
    key.set(&host);
    key
}
