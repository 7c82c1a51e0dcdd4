//! Connections that open, stay for a while and close, over names with different popularity.

use std::{
    collections::{HashSet, VecDeque},
    fmt,
};

use portcullis_abi::{Balance, Home, Loads, Reason, WorkerSet, place};

use portcullis_abi::SplitMix64;

/// Open connections at a time, for each worker.
const OPEN_PER_WORKER: usize = 1000;
/// Connections in one run; so many that the first ones, which find empty workers, do not matter.
const ARRIVALS: usize = 150_000;
const MAX_LOAD_PERCENT: u32 = 120;

/// The distribution of the names' popularity.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Population {
    /// All names are equally popular.
    Uniform,
    /// The n-th name has 1/n of the connections of the first.
    Zipf,
    /// One name has nine tenths of all connections.
    OneHot,
}

impl fmt::Display for Population {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Population::Uniform => "uniform",
            Population::Zipf => "Zipf",
            Population::OneHot => "one has 90 %",
        })
    }
}

/// A machine and its traffic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) workers: u32,
    pub(crate) names: u32,
    pub(crate) popularity: Population,
}

/// The result.
#[derive(Debug)]
pub(crate) struct Report {
    /// The load of the busiest worker over the mean, averaged over the run.
    pub(crate) busiest_over_mean: f64,
    /// The share of connections that did not go to the first choice of their name.
    pub(crate) spilled: f64,
    /// The workers per name, averaged over the names seen: each worker keeps upstream connections.
    pub(crate) pools: f64,
    /// The same if the kernel spreads connections by their addresses.
    pub(crate) pools_unsteered: f64,
}

/// The share of names whose first choice changes.
#[derive(Debug)]
pub(crate) struct Moves {
    /// When worker 0 disappears.
    pub(crate) gone: u32,
    /// When one more worker appears.
    pub(crate) came: u32,
    /// Between workers that stay, in either case.
    pub(crate) between_others: u32,
}

/// Open connections of each worker; `None` for a worker that accepts none.
struct Open(Vec<Option<u32>>);

impl Loads for Open {
    fn load(&self, worker: u32) -> Option<u32> {
        self.0.get(worker as usize).copied().flatten()
    }
}

impl Scenario {
    /// Runs the traffic.
    pub(crate) fn run(&self, seed: u64) -> Report {
        let mut random = SplitMix64::new(seed);
        let popularity = self.cumulative_popularity();
        let homes: Vec<Home> = (0..self.names).map(home).collect();
        let mut open = Open(vec![Some(0); self.workers as usize]);
        let mut closing = VecDeque::new();
        let (mut pools, mut unsteered) = (HashSet::new(), HashSet::new());
        let (mut spilled, mut ratios, mut samples) = (0, 0.0, 0);

        let warm_up = OPEN_PER_WORKER * self.workers as usize;
        for arrival in 0..warm_up + ARRIVALS {
            let name = pick(&popularity, random.unit());
            let placed = place(&homes[name], self.balance(), &open).expect("all take connections");
            add(&mut open, placed.worker, 1);
            closing.push_back(placed.worker);
            if arrival < warm_up {
                continue;
            }
            spilled += usize::from(placed.reason == Reason::Spilled);
            pools.insert((name, placed.worker));
            unsteered.insert((name, random.below(self.workers.into()) as u32));
            // Connections last for different times: any of them may be the next to close.
            let ends = random.below(closing.len() as u64) as usize;
            closing.swap(0, ends);
            add(&mut open, closing.pop_front().expect("some are open"), -1);
            if arrival % 100 == 0 {
                ratios += busiest_over_mean(&open);
                samples += 1;
            }
        }
        let seen = pools.iter().map(|(name, _)| name).collect::<HashSet<_>>().len() as f64;
        Report {
            busiest_over_mean: ratios / f64::from(samples),
            spilled: spilled as f64 / ARRIVALS as f64,
            pools: pools.len() as f64 / seen,
            pools_unsteered: unsteered.len() as f64 / seen,
        }
    }

    /// Counts the names that move when a worker disappears or appears, without any load.
    pub(crate) fn moves(&self) -> Moves {
        let without_first = (0..self.workers).map(|worker| (worker != 0).then_some(0)).collect();
        let (with_all, without) = (Open(vec![Some(0); self.workers as usize]), Open(without_first));
        let grown = Scenario { workers: self.workers + 1, ..*self };
        let with_more = Open(vec![Some(0); grown.workers as usize]);
        let mut moves = Moves { gone: 0, came: 0, between_others: 0 };
        for name in 0..self.names {
            let home = home(name);
            let [before, after, later] =
                [(self, &with_all), (self, &without), (&grown, &with_more)].map(|(on, open)| {
                    place(&home, on.balance(), open).expect("some take connections").worker
                });
            moves.gone += u32::from(before == 0);
            moves.came += u32::from(later == self.workers);
            moves.between_others += u32::from(before != 0 && after != before);
            moves.between_others += u32::from(later != self.workers && later != before);
        }
        moves
    }

    fn balance(&self) -> Balance {
        Balance { workers: self.workers, max_load_percent: MAX_LOAD_PERCENT }
    }

    /// For each name, the share of it and of all names before it.
    fn cumulative_popularity(&self) -> Vec<f64> {
        let weight = |rank: u32| match self.popularity {
            Population::Uniform => 1.0,
            Population::Zipf => 1.0 / f64::from(rank + 1),
            Population::OneHot if rank == 0 => 9.0 * f64::from(self.names - 1),
            Population::OneHot => 1.0,
        };
        let total: f64 = (0..self.names).map(weight).sum();
        let mut sum = 0.0;
        (0..self.names)
            .map(|rank| {
                sum += weight(rank) / total;
                sum
            })
            .collect()
    }
}

fn home(name: u32) -> Home {
    Home::of_name(format!("host-{name}.example.com").as_bytes(), WorkerSet::ALL)
}

fn pick(cumulative: &[f64], at: f64) -> usize {
    cumulative.partition_point(|share| *share < at).min(cumulative.len() - 1)
}

fn add(open: &mut Open, worker: u32, change: i32) {
    if let Some(Some(load)) = open.0.get_mut(worker as usize) {
        *load = load.saturating_add_signed(change);
    }
}

fn busiest_over_mean(open: &Open) -> f64 {
    let loads: Vec<f64> = open.0.iter().flatten().map(|load| f64::from(*load)).collect();
    let mean = loads.iter().sum::<f64>() / loads.len() as f64;
    loads.iter().fold(0.0, |busiest: f64, load| busiest.max(*load)) / mean
}
