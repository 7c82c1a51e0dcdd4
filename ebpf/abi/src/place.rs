//! Which worker a name's connections go to: rendezvous hashing with bounded loads.
//!
//! Each name has an order of preference over the workers (Thaler and Ravishankar 1998), the same on
//! every path that asks: the kernel program, the hand-off in user space, `status` and the
//! simulation. A connection goes to the first worker of that order whose load is within a factor of
//! the mean (Mirrokni, Thorup and Zadimoghaddam 2016), so that one hot name does not fill one core.
//! A worker that goes moves the names it had and no others.

/// The most workers there can be.
pub const MAX_WORKERS: u32 = 128;

/// What a worker may carry beyond its part, in connections: the load of a worker that has its share
/// sways by chance, by about the square root of it, and that is no reason to send names elsewhere.
/// On a quiet machine it keeps names together; on a busy one it is nothing.
pub const SLACK: u32 = 64;

/// Some of the workers, by bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct WorkerSet([u64; 2]);

impl WorkerSet {
    /// Every worker there is.
    pub const ALL: Self = Self([u64::MAX; 2]);
    /// None; [`with`](Self::with) adds to it.
    pub const EMPTY: Self = Self([0; 2]);

    /// This set and `worker`; a worker from [`MAX_WORKERS`] on is left out.
    #[must_use]
    pub const fn with(self, worker: u32) -> Self {
        let Self([low, high]) = self;
        match worker {
            0..64 => Self([low | 1 << worker, high]),
            64..MAX_WORKERS => Self([low, high | 1 << (worker - 64)]),
            _ => self,
        }
    }

    /// Whether `worker` is one of them.
    #[inline(always)]
    pub const fn contains(self, worker: u32) -> bool {
        let Self([low, high]) = self;
        let half = if worker < 64 { low } else { high };
        worker < MAX_WORKERS && half >> (worker & 63) & 1 == 1
    }
}

/// What a name asks of the choice; the value it has in the kernel's map of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Home {
    seed: u64,
    among: WorkerSet,
}

impl Home {
    /// For a name, or a pattern whose names share their upstreams, among the given workers.
    pub fn of_name(name: &[u8], among: WorkerSet) -> Self {
        let seed = name.iter().fold(0, |seed, byte| mix(seed ^ u64::from(*byte)));
        Self { seed, among }
    }

    /// For a connection whose name is not known (yet): spread by a hash of its addresses.
    #[inline(always)]
    pub const fn of_flow(hash: u32) -> Self {
        Self { seed: hash as u64, among: WorkerSet::ALL }
    }

    /// Whether `worker` is one of those this name is kept to.
    #[inline(always)]
    pub const fn allows(&self, worker: u32) -> bool {
        self.among.contains(worker)
    }

    /// The same as numbers, as which the proxy writes it into the kernel's map.
    pub const fn to_words(self) -> [u64; 3] {
        let Self { seed, among: WorkerSet([low, high]) } = self;
        [seed, low, high]
    }

    /// How much this name prefers `worker`; the greatest is the first choice. Never 0, and never the
    /// same for two workers: the last seven bits are the worker's number.
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

/// What the workers carry.
pub trait Loads {
    /// The load of `worker`, in connections; `None` when it takes none.
    fn load(&self, worker: u32) -> Option<u32>;

    /// Calls `visit` for each worker from 0 up to `workers`, of which there are at most
    /// [`MAX_WORKERS`]. The kernel program has a loop of its own: one that the verifier sees to
    /// end, and follows through once.
    #[inline(always)]
    fn for_each_worker<F: FnMut(u32)>(&self, workers: u32, visit: F) {
        (0..workers.min(MAX_WORKERS)).for_each(visit);
    }
}

/// How many workers there are and how unevenly they may be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Balance {
    /// Workers, numbered from 0; no more than [`MAX_WORKERS`].
    pub workers: u32,
    /// The load that a worker may have, in percent of the mean; over 100.
    pub max_load_percent: u32,
}

/// A choice and how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The worker's number.
    pub worker: u32,
    /// Why this one.
    pub reason: Reason,
}

/// How a choice came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is the name's first choice.
    Home,
    /// The first choice, and whatever else comes before this one, has enough to carry.
    Spilled,
    /// The first choice takes no connections.
    Unavailable,
}

/// Chooses a worker; `None` when none of those asked for takes connections.
pub fn place<L: Loads + ?Sized>(home: &Home, balance: Balance, loads: &L) -> Option<Placed> {
    let mut placing = Placing::NEW;
    placing.place(home, balance, loads)
}

/// What [`place`] keeps while it goes over the workers.
///
/// The kernel program has it in a map: numbers on the stack are followed by the verifier, which
/// then goes over every worker by every way that the numbers may have come about.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Placing {
    /// The workers' loads, and the connection to be placed.
    total: u64,
    /// Workers that take connections.
    available: u64,
    first: Best,
    best_available: Best,
    best_within: Best,
}

impl Placing {
    /// Nothing seen yet.
    pub const NEW: Self = Self {
        total: 1,
        available: 0,
        first: Best::NONE,
        best_available: Best::NONE,
        best_within: Best::NONE,
    };

    /// As [`place`] does, whatever was placed with it before.
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

    /// Whether a worker may have one more of a name with this preference for it: its load is less
    /// than its part of the total, and the slack.
    ///
    /// What a name may have of a worker beyond the mean is between a quarter and all of what the
    /// balance allows, by chance of name and worker. So a worker that has too much sends some of its
    /// names elsewhere, the same ones each time, and not a few connections of each of its names, all
    /// of which would need upstream connections there as well.
    #[inline(always)]
    const fn allows(&self, preference: u64, load: u32, balance: Balance) -> bool {
        const STEPS: u64 = 1 << 10;
        // Bits that are too low to have had a say in the order of workers.
        let step = preference >> 20 & (STEPS - 1);
        let above_mean = (balance.max_load_percent as u64).saturating_sub(100);
        let quarters_of_steps = 4 * STEPS - 3 * step;
        // Multiplied out, since the kernel program must not divide by what might be zero.
        let percent = 100 * 4 * STEPS + above_mean * quarters_of_steps;
        let part = self.total.wrapping_mul(percent);
        let excess = (load as u64).saturating_sub(SLACK as u64);
        excess.wrapping_mul(self.available.wrapping_mul(100 * 4 * STEPS)) < part
    }

    #[inline(always)]
    fn placed(&self) -> Option<Placed> {
        // Loads change while they are read: at times none seems to be within the limit.
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

/// The most preferred of some workers, as its preference, which has its number in it. One number
/// instead of two is one branch instead of two for the kernel's verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
struct Best(u64);

impl Best {
    /// Of no worker.
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
