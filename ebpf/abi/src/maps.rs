//! The layout of what kernel and proxy both read and write.

#[cfg(not(target_arch = "bpf"))]
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(not(target_arch = "bpf"))]
use crate::Loads;
use crate::{HostName, MAX_WORKERS};

/// One worker's line in the table of loads, as it is at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct WorkerLine {
    /// Connections it carries, as it counts them. Written by the worker.
    pub load: u64,
    /// 1 when it takes connections. Written by the proxy.
    pub available: u64,
    /// Connections sent its way. Written by whoever sends one.
    pub sent: u64,
    /// How many of those it has taken. Written by the worker.
    pub taken: u64,
}

impl WorkerLine {
    /// Its load with what is on its way to it; `None` when it takes no connections.
    #[inline(always)]
    pub const fn current(&self) -> Option<u32> {
        if self.available == 0 { None } else { Some(self.carried()) }
    }

    /// The same, whether or not it takes connections.
    #[inline(always)]
    pub const fn carried(&self) -> u32 {
        // Taken may be seen before it was seen to be sent: they are read one after the other.
        let carried = self.load.saturating_add(self.sent.saturating_sub(self.taken));
        if carried > u32::MAX as u64 { u32::MAX } else { carried as u32 }
    }
}

/// A [`WorkerLine`] in the table that the proxy maps into its memory: no system call on either
/// side, and a cache line of its own. The kernel program reads the same bytes as volatile, since
/// its compiler has atomic additions alone.
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
    /// Its load with what is on its way to it; `None` when it takes no connections.
    pub fn current(&self) -> Option<u32> {
        self.line().current()
    }

    /// The same, whether or not it takes connections.
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

    /// Notes a connection sent its way.
    pub fn send(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that it took one. For the worker alone.
    pub fn take(&self) {
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Notes that nothing is on its way any more: what was sent and never came was dropped by the
    /// kernel. For the worker alone, when it has found its queues empty.
    pub fn take_all(&self) {
        self.taken.store(self.sent.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Sets its load. For the worker alone.
    pub fn set_load(&self, load: u32) {
        self.load.store(u64::from(load), Ordering::Relaxed);
    }

    /// Sets whether it takes connections.
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

/// Data bytes of a key in the map of names: what the kernel's LPM trie takes at most.
pub const NAME_KEY_LEN: usize = 256;

/// A key of the map of names, an LPM trie over reversed names: `moc.elpmaxe` and a zero byte for
/// `example.com` alone, `moc.elpmaxe.` for all names below it, nothing for all names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct NameKey {
    /// How many bits of `reversed` count.
    pub prefix_bits: u32,
    /// The name from its last byte to its first.
    pub reversed: [u8; NAME_KEY_LEN],
}

impl NameKey {
    /// Matches nothing but the empty prefix: the place that [`set`](Self::set) writes to.
    pub const EMPTY: Self = Self { prefix_bits: 0, reversed: [0; NAME_KEY_LEN] };

    /// Makes this the key to look `name` up with, and to enter it with as itself alone.
    #[inline(always)]
    pub fn set(&mut self, name: &HostName) {
        let len = name.len();
        for at in 0..crate::MAX_NAME_LEN as u32 {
            if at >= len {
                break;
            }
            // The mask tells the verifier what the comparison told us.
            let from = (len - 1 - at) & 0xff;
            self.reversed[(at & 0xff) as usize] = name.buffer()[from as usize];
        }
        self.reversed[(len & 0xff) as usize] = 0;
        self.prefix_bits = (len + 1) * 8;
    }

    /// The key of all names that end in `suffix`, which is in canonical form; of all names when it
    /// is empty. `None` when it is longer than a name can be.
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

/// What the program does, as far as a reload may change it. The one value of its map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SteeringSettings {
    /// How connections are spread.
    pub balance: crate::Balance,
    /// 1: a name that no entry matches is answered with a reset.
    pub refuse_unknown: u32,
    /// 1: a SYN is answered with a reset. Whoever has sent one before may go on.
    pub closed: u32,
}

impl SteeringSettings {
    /// The same as numbers, as which the proxy writes it into the kernel's map.
    pub const fn to_words(self) -> [u32; 4] {
        let Self { balance, refuse_unknown, closed } = self;
        [balance.workers, balance.max_load_percent, refuse_unknown, closed]
    }
}

/// What became of a segment: the index of its counter, and of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Verdict {
    /// To the name's first choice.
    Steered,
    /// To another worker, since the first choice has enough to carry.
    Spilled,
    /// To another worker, since the first choice takes no connections.
    WorkerUnavailable,
    /// A hello that asks for no name, to a worker by its flow.
    NoSni,
    /// The segment ends before the name: to a worker by its flow, which reads the rest.
    Truncated,
    /// Not TLS: to a worker by its flow, which answers.
    NotTls,
    /// A hello to be read in user space: to a worker by its flow.
    Unsupported,
    /// A name that no entry matches, to a worker by its flow.
    Unknown,
    /// The same, answered with a reset.
    UnknownRefused,
    /// No worker takes connections, or the chosen one's socket is not there: the kernel's own
    /// choice stands.
    SelectFailed,
    /// No segment of a handshake's end, such as a SYN: the kernel's own choice stands.
    Passed,
    /// A SYN when no more connections are taken, answered with a reset.
    Closed,
    /// A bare ACK that was dropped, so that the hello completes the handshake.
    Deferred,
    /// Data that came before the bytes in front of it, dropped so that they come in order.
    OutOfOrder,
}

impl Verdict {
    /// All, in the order of their counters.
    pub const ALL: [Self; 14] = [
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
    ];
}

/// The table of loads has a line for each worker there can be.
pub const SLOTS: usize = MAX_WORKERS as usize;
