//! The layout of the data that kernel and proxy share.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(target_arch = "bpf"))]
use crate::Loads;
use crate::{HostName, MAX_WORKERS};

/// One worker's line in the load table, as read at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct WorkerLine {
    /// The number of its connections. Written by the worker.
    pub load: u64,
    /// 1 if the worker accepts connections. Written by the proxy.
    pub available: u64,
    /// The number of connections sent to it. Written by every sender.
    pub sent: u64,
    /// The number of those that it has accepted. Written by the worker.
    pub taken: u64,
}

impl WorkerLine {
    /// Its load plus the connections on their way to it; `None` if it accepts no connections.
    #[inline(always)]
    pub const fn current(&self) -> Option<u32> {
        if self.available == 0 { None } else { Some(self.carried()) }
    }

    /// The same, even if it accepts no connections.
    #[inline(always)]
    pub const fn carried(&self) -> u32 {
        // The worker may accept before the sender's count is read: the two counts are read in turn.
        let carried = self.load.saturating_add(self.sent.saturating_sub(self.taken));
        if carried > u32::MAX as u64 { u32::MAX } else { carried as u32 }
    }
}

/// A [`WorkerLine`] in the table that the proxy maps into its memory: neither side needs a system
/// call, and each line has its own cache line. The kernel program reads the same bytes as volatile,
/// since its compiler supports only atomic additions.
#[cfg(not(target_arch = "bpf"))]
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct WorkerSlot {
    load: AtomicU64,
    available: AtomicU64,
    sent: AtomicU64,
    taken: AtomicU64,
}

#[cfg(not(target_arch = "bpf"))]
impl WorkerSlot {
    /// Its load plus the connections on their way to it; `None` if it accepts no connections.
    pub fn current(&self) -> Option<u32> {
        self.line().current()
    }

    /// The same, even if it accepts no connections.
    pub fn carried(&self) -> u32 {
        self.line().carried()
    }

    fn line(&self) -> WorkerLine {
        WorkerLine {
            load: self.load.load(Ordering::Relaxed),
            available: self.available.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            taken: self.taken.load(Ordering::Relaxed),
        }
    }

    /// Counts a connection that is sent to it.
    pub fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a connection that it has accepted. Only the worker calls this.
    pub fn take(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Records that no connection is on its way: the kernel has dropped those that never arrived.
    /// Only the worker calls this, when it has found its queues empty.
    pub fn take_all(&self) {
        self.taken.store(self.sent.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Sets its load. Only the worker calls this.
    pub fn set_load(&self, load: u32) {
        self.load.store(u64::from(load), Ordering::Relaxed);
    }

    /// Sets whether it accepts connections.
    pub fn set_available(&self, available: bool) {
        self.available.store(u64::from(available), Ordering::Relaxed);
    }
}

#[cfg(not(target_arch = "bpf"))]
impl Loads for [WorkerSlot] {
    fn load(&self, worker: u32) -> Option<u32> {
        self.get(usize::try_from(worker).ok()?)?.current()
    }
}

/// The number of data bytes of a key in the map of names: the maximum of the kernel's LPM trie.
pub const NAME_KEY_LEN: usize = 256;

/// A key of the map of names, an LPM trie over reversed names: `moc.elpmaxe` and a zero byte for
/// `example.com` alone, `moc.elpmaxe.` for all names below it, no bytes for all names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NameKey {
    /// The number of significant bits of `reversed`.
    pub prefix_bits: u32,
    /// The bytes of the name from last to first.
    pub reversed: [u8; NAME_KEY_LEN],
}

impl NameKey {
    /// A key that matches only the empty prefix: the place that [`set`](Self::set) writes to.
    pub const EMPTY: Self = Self { prefix_bits: 0, reversed: [0; NAME_KEY_LEN] };

    /// Sets this to the key that looks `name` up, and that enters it as one exact name.
    #[inline(always)]
    pub fn set(&mut self, name: &HostName) {
        let len = name.len();
        for at in 0..crate::MAX_NAME_LEN as u32 {
            if at >= len {
                break;
            }
            // The mask proves to the verifier what the comparison proves to the compiler.
            let from = (len - 1 - at) & 0xff;
            self.reversed[(at & 0xff) as usize] = name.buffer()[from as usize];
        }
        self.reversed[(len & 0xff) as usize] = 0;
        self.prefix_bits = (len + 1) * 8;
    }

    /// The key of all names that end in `suffix`, which is in canonical form; the key of all names
    /// if it is empty. `None` if it is longer than a name can be.
    pub fn of_suffix(suffix: &[u8]) -> Option<Self> {
        if suffix.len() > crate::MAX_NAME_LEN {
            return None;
        }
        let mut key = Self::EMPTY;
        for (to, from) in key.reversed.iter_mut().zip(suffix.iter().rev()) {
            *to = *from;
        }
        key.prefix_bits = u32::try_from(suffix.len()).ok()? * 8;
        Some(key)
    }
}

/// The settings of the program that a reload may change, in the only value of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SteeringSettings {
    /// The balance of connections over workers.
    pub balance: crate::Balance,
    /// 1: an unknown name is answered with a reset.
    pub refuse_unknown: u32,
    /// 1: a SYN is answered with a reset. A client that has sent its SYN before may continue.
    pub closed: u32,
    /// 1: the kernel sends SYN cookies only for SYNs that go to the catcher of their address, and
    /// other clients have ordinary handshakes. 0: it sends them for every SYN.
    pub catching: u32,
}

impl SteeringSettings {
    /// The same as numbers, the form in which the proxy writes it into the kernel's map.
    pub const fn to_words(self) -> [u32; 5] {
        let Self { balance, refuse_unknown, closed, catching } = self;
        [balance.workers, balance.max_load_percent, refuse_unknown, closed, catching]
    }
}

/// The address that a listener is bound to, as the program reads it from the socket that the kernel
/// offers: any of the sockets that listen there, also one of another process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ListenKey {
    /// `AF_INET` or `AF_INET6`.
    pub family: u32,
    /// The bytes of the address in its order; zeros behind an IPv4 address.
    pub address: [u32; 4],
    /// The port, as a number.
    pub port: u32,
    /// The interface of a link-local address, else 0.
    pub interface: u32,
}

impl ListenKey {
    /// The same as numbers, the form in which the proxy writes it into the kernel's map.
    pub const fn to_words(self) -> [u32; 7] {
        let Self { family, address: [a, b, c, d], port, interface } = self;
        [family, a, b, c, d, port, interface]
    }
}

/// The outcome of a segment: the index of its counter and of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// Sent to the first choice of the name.
    Steered,
    /// Sent to another worker, since the first choice is at its limit.
    Spilled,
    /// Sent to another worker, since the first choice accepts no connections.
    WorkerUnavailable,
    /// A hello without a name, sent to a worker by its flow.
    NoSni,
    /// The segment ends before the name: sent to a worker by its flow, which reads the rest.
    Truncated,
    /// Not TLS: sent to a worker by its flow, which answers.
    NotTls,
    /// A hello that user space must read: sent to a worker by its flow.
    Unsupported,
    /// An unknown name, sent to a worker by its flow.
    Unknown,
    /// An unknown name, answered with a reset.
    UnknownRefused,
    /// No worker accepts connections, or the socket of the chosen one is missing: any socket gets it.
    SelectFailed,
    /// A segment that ends no handshake, such as a bare ACK: any socket gets it.
    Passed,
    /// A SYN while no connections are accepted, answered with a reset.
    Closed,
    /// A bare ACK that is dropped, so that the hello completes the handshake.
    Deferred,
    /// Data ahead of earlier bytes that are missing, dropped so that the bytes arrive in order.
    OutOfOrder,
    /// A SYN that is sent to the catcher, so that the kernel answers with a cookie.
    Caught,
    /// A SYN without timestamps: the kernel does the handshake, and a worker reads the hello.
    NoTimestamps,
    /// The same for a SYN whose segment size a cookie does not keep.
    SegmentSize,
}

impl Verdict {
    /// Whether the segment may go to the socket of any worker.
    #[inline(always)]
    pub const fn is_for_any_socket(self) -> bool {
        matches!(self, Self::Passed | Self::SelectFailed | Self::NoTimestamps | Self::SegmentSize)
    }

    /// All verdicts, in the order of their counters.
    pub const ALL: [Self; 17] = [
        Self::Steered,
        Self::Spilled,
        Self::WorkerUnavailable,
        Self::NoSni,
        Self::Truncated,
        Self::NotTls,
        Self::Unsupported,
        Self::Unknown,
        Self::UnknownRefused,
        Self::SelectFailed,
        Self::Passed,
        Self::Closed,
        Self::Deferred,
        Self::OutOfOrder,
        Self::Caught,
        Self::NoTimestamps,
        Self::SegmentSize,
    ];
}

/// The load table has a line for each possible worker.
pub const SLOTS: usize = MAX_WORKERS as usize;

/// The sockets of one listening address: each possible worker's, and the catcher's.
pub const MAX_SOCKETS: usize = SLOTS + 1;
