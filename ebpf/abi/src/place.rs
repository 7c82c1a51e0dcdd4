//! The choice of a worker for a name's connections: rendezvous hashing with bounded loads.
//!
//! Each name has an order of preference over the workers (Thaler and Ravishankar 1998), the same
//! for every caller: the kernel program, the hand-off in user space, `status` and the simulation. A
//! connection goes to the first worker in that order whose load is within a factor of the mean
//! (Mirrokni, Thorup and Zadimoghaddam 2016), so that one hot name does not fill one core. If a
//! worker disappears, its names move and no others do.

/// The maximum number of workers.
pub const MAX_WORKERS: u32 = 128;

/// The connections that a worker may have above its share: its load fluctuates by about the square
/// root of the share, and that must not move names to other workers. On an idle machine the slack
/// keeps names together; on a busy one it is negligible.
pub const SLACK: u32 = 64;

/// A set of workers, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct WorkerSet([u64; 2]);

impl WorkerSet {
    /// All workers.
    pub const ALL: Self = Self([u64::MAX; 2]);
    /// No workers; [`with`](Self::with) adds one.
    pub const EMPTY: Self = Self([0; 2]);

    /// This set with `worker`; numbers from [`MAX_WORKERS`] on are ignored.
    #[must_use]
    pub const fn with(self, worker: u32) -> Self {
        let Self([low, high]) = self;
        match worker {
            0..64 => Self([low | 1 << worker, high]),
            64..MAX_WORKERS => Self([low, high | 1 << (worker - 64)]),
            _ => self,
        }
    }

    /// Whether the set contains `worker`.
    #[inline(always)]
    pub const fn contains(self, worker: u32) -> bool {
        let Self([low, high]) = self;
        let half = if worker < 64 { low } else { high };
        worker < MAX_WORKERS && half >> (worker & 63) & 1 == 1
    }
}

/// What a name requires of the choice; its value in the kernel's map of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Home {
    seed: u64,
    among: WorkerSet,
}

impl Home {
    /// The home of a name, or of a pattern whose names share their upstreams, among these workers.
    pub fn of_name(name: &[u8], among: WorkerSet) -> Self {
        let seed = name.iter().fold(0, |seed, byte| mix(seed ^ u64::from(*byte)));
        Self { seed, among }
    }

    /// The home of a connection without a known name: spread by a hash of its addresses.
    #[inline(always)]
    pub const fn of_flow(hash: u32) -> Self {
        Self { seed: hash as u64, among: WorkerSet::ALL }
    }

    /// Whether this name may go to `worker`.
    #[inline(always)]
    pub const fn allows(&self, worker: u32) -> bool {
        self.among.contains(worker)
    }

    /// The same as numbers, the form in which the proxy writes it into the kernel's map.
    pub const fn to_words(self) -> [u64; 3] {
        let Self { seed, among: WorkerSet([low, high]) } = self;
        [seed, low, high]
    }

    /// The preference of this name for `worker`; the highest is the first choice. It is never 0 and
    /// never equal for two workers: the last seven bits are the worker's number.
    #[inline(always)]
    pub const fn preference(&self, worker: u32) -> u64 {
        const WORKER: u64 = MAX_WORKERS as u64 - 1;
        let hash =
            mix(self.seed.wrapping_add((worker as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        ((hash | 1 << 63) & !WORKER) | (worker as u64 & WORKER)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014).
#[inline(always)]
pub(crate) const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

/// The loads of the workers.
pub trait Loads {
    /// The load of `worker`, in connections; `None` if it accepts none.
    fn load(&self, worker: u32) -> Option<u32>;

    /// Calls `visit` for each worker from 0 up to `workers`, at most [`MAX_WORKERS`]. The
    /// kernel program has its own loop, which the verifier can prove to end and checks only
    /// once.
    #[inline(always)]
    fn for_each_worker<F: FnMut(u32)>(&self, workers: u32, visit: F) {
        (0..workers.min(MAX_WORKERS)).for_each(visit);
    }
}

/// The number of workers and the allowed imbalance of their loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Balance {
    /// The number of workers, at most [`MAX_WORKERS`]; they are numbered from 0.
    pub workers: u32,
    /// The maximum load of a worker, in percent of the mean; over 100.
    pub max_load_percent: u32,
}

/// A choice and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The number of the worker.
    pub worker: u32,
    /// The reason.
    pub reason: Reason,
}

/// The reason of a choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The worker is the first choice of the name.
    Home,
    /// The workers that precede this one are at their limits.
    Spilled,
    /// The first choice accepts no connections.
    Unavailable,
}

/// Chooses a worker; `None` if none of the allowed ones accepts connections.
pub fn place<L: Loads + ?Sized>(home: &Home, balance: Balance, loads: &L) -> Option<Placed> {
    let mut placing = Placing::NEW;
    placing.place(home, balance, loads)
}

/// The state of [`place`] while it visits the workers.
///
/// The kernel program keeps it in a map: the verifier tracks numbers on the stack, and would check
/// every worker for every way in which the numbers can arise.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Placing {
    /// The loads of the workers, and the connection to place.
    total: u64,
    /// The number of workers that accept connections.
    available: u64,
    first: Best,
    best_available: Best,
    best_within: Best,
}

impl Placing {
    /// The state before the first worker.
    pub const NEW: Self = Self {
        total: 1,
        available: 0,
        first: Best::NONE,
        best_available: Best::NONE,
        best_within: Best::NONE,
    };

    /// Works like [`place`]; earlier placements in this state do not matter.
    #[inline(always)]
    pub fn place<L: Loads + ?Sized>(
        &mut self,
        home: &Home,
        balance: Balance,
        loads: &L,
    ) -> Option<Placed> {
        *self = Self::NEW;
        loads.for_each_worker(balance.workers, |worker| {
            if home.among.contains(worker)
                && let Some(load) = loads.load(worker)
            {
                self.total += u64::from(load);
                self.available += 1;
            }
        });
        loads.for_each_worker(balance.workers, |worker| {
            if home.among.contains(worker) {
                self.consider(home.preference(worker), loads.load(worker), balance);
            }
        });
        self.placed()
    }

    #[inline(always)]
    const fn consider(&mut self, preference: u64, load: Option<u32>, balance: Balance) {
        let candidate = Best(preference);
        self.first = self.first.or(candidate);
        if let Some(load) = load {
            self.best_available = self.best_available.or(candidate);
            if self.allows(preference, load, balance) {
                self.best_within = self.best_within.or(candidate);
            }
        }
    }

    /// Whether a worker may get one more connection of a name with this preference for it: its load
    /// is below the mean plus the name's allowance, and the slack.
    ///
    /// The allowance is between a quarter and all of the balance's margin, by chance of name and
    /// worker. So an overloaded worker moves some of its names to other workers, always the same
    /// ones, instead of a few connections of each name, all of which would need upstream
    /// connections there as well.
    #[inline(always)]
    const fn allows(&self, preference: u64, load: u32, balance: Balance) -> bool {
        const STEPS: u64 = 1 << 10;
        // Bits that are too low to have affected the order of the workers.
        let step = preference >> 20 & (STEPS - 1);
        let above_mean = (balance.max_load_percent as u64).saturating_sub(100);
        let quarters_of_steps = 4 * STEPS - 3 * step;
        // Multiplied out, since the kernel program must not divide by a number that may be zero.
        let percent = 100 * 4 * STEPS + above_mean * quarters_of_steps;
        let part = self.total.wrapping_mul(percent);
        let excess = (load as u64).saturating_sub(SLACK as u64);
        excess.wrapping_mul(self.available.wrapping_mul(100 * 4 * STEPS)) < part
    }

    #[inline(always)]
    fn placed(&self) -> Option<Placed> {
        // Loads change while they are read: at times no worker seems to be within the limit.
        let chosen = self.best_within.or_if_none(self.best_available);
        let reason = if chosen == self.first {
            Reason::Home
        } else if self.best_available == self.first {
            Reason::Spilled
        } else {
            Reason::Unavailable
        };
        Some(Placed { worker: chosen.worker()?, reason })
    }
}

/// The most preferred worker so far, as its preference, which contains its number. One number
/// instead of two is one branch instead of two for the kernel's verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Best(u64);

impl Best {
    /// No worker.
    const NONE: Self = Self(0);

    #[inline(always)]
    const fn or(self, other: Self) -> Self {
        if other.0 > self.0 { other } else { self }
    }

    #[inline(always)]
    const fn or_if_none(self, other: Self) -> Self {
        if self.0 == 0 { other } else { self }
    }

    #[inline(always)]
    const fn worker(self) -> Option<u32> {
        if self.0 == 0 { None } else { Some(self.0 as u32 & (MAX_WORKERS - 1)) }
    }
}
