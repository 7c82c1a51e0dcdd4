//! The choice of a worker.

use portcullis_abi::{
    Balance, Home, HostName, Loads, MAX_WORKERS, NameKey, Placed, Reason, SLACK, WorkerSet, place,
};
use proptest::prelude::*;

/// A load for each worker; `None` for a worker that accepts no connections.
#[derive(Debug)]
struct Table(Vec<Option<u32>>);

impl Loads for Table {
    fn load(&self, worker: u32) -> Option<u32> {
        self.0.get(worker as usize).copied().flatten()
    }
}

fn balance(workers: usize) -> Balance {
    Balance { workers: workers as u32, max_load_percent: 120 }
}

fn idle(workers: usize) -> Table {
    Table(vec![Some(0); workers])
}

fn home(name: &str) -> Home {
    Home::of_name(name.as_bytes(), WorkerSet::ALL)
}

fn choose(home: &Home, table: &Table) -> Option<Placed> {
    place(home, balance(table.0.len()), table)
}

fn tables() -> impl Strategy<Value = Table> {
    let load = prop_oneof![4 => (0..2000_u32).prop_map(Some), 1 => Just(None)];
    prop::collection::vec(load, 1..=MAX_WORKERS as usize).prop_map(Table)
}

proptest! {
    #[test]
    fn the_choice_takes_connections_and_is_within_the_limit(table in tables(), name in "[a-z]{1,9}") {
        let open: Vec<u32> = table.0.iter().copied().flatten().collect();
        match choose(&home(&name), &table) {
            None => prop_assert!(open.is_empty()),
            Some(placed) => {
                let load = table.load(placed.worker).expect("takes connections");
                let total: u64 = open.iter().map(|load| u64::from(*load)).sum();
                let mean = (total + 1) as f64 / open.len() as f64;
                prop_assert!(
                    f64::from(load) < mean * 1.2 + f64::from(SLACK), "{load} beside {mean}");
            }
        }
    }

    #[test]
    fn a_pinned_name_stays_on_its_workers(table in tables(), pins in prop::collection::vec(0..MAX_WORKERS, 1..4)) {
        let among = pins.iter().fold(WorkerSet::EMPTY, |set, worker| set.with(*worker));
        match choose(&Home::of_name(b"tenant", among), &table) {
            Some(placed) => prop_assert!(pins.contains(&placed.worker)),
            None => prop_assert!(pins.iter().all(|worker| table.load(*worker).is_none())),
        }
    }

    #[test]
    fn a_worker_that_goes_moves_its_own_names_alone(workers in 2..64_usize, gone in any::<prop::sample::Index>(), name in "[a-z]{1,9}") {
        let gone = gone.index(workers);
        let before = choose(&home(&name), &idle(workers)).unwrap();
        let mut table = idle(workers);
        table.0[gone] = None;
        let after = choose(&home(&name), &table).unwrap();
        if before.worker as usize == gone {
            prop_assert_eq!(after.reason, Reason::Unavailable);
        } else {
            prop_assert_eq!(after, before);
        }
    }

    #[test]
    fn a_new_worker_takes_names_without_moving_the_others(workers in 1..64_usize, name in "[a-z]{1,9}") {
        let before = choose(&home(&name), &idle(workers)).unwrap().worker;
        let after = choose(&home(&name), &idle(workers + 1)).unwrap().worker;
        prop_assert!(after == before || after as usize == workers);
    }
}

#[test]
fn one_hot_name_fills_every_worker_evenly() {
    let mut table = idle(4);
    for _ in 0..10_000 {
        let placed = choose(&home("hot.example.com"), &table).unwrap();
        *table.0[placed.worker as usize].as_mut().unwrap() += 1;
    }
    let busiest = table.0.iter().flatten().max().unwrap();
    assert!(*busiest <= 3001 + SLACK, "{:?}", table.0);
}

#[test]
fn a_spill_says_so_and_goes_home_again() {
    let first = choose(&home("a.example.com"), &idle(4)).unwrap();
    assert_eq!(first.reason, Reason::Home);
    let mut table = idle(4);
    table.0[first.worker as usize] = Some(100);
    let spilled = choose(&home("a.example.com"), &table).unwrap();
    assert_eq!(spilled.reason, Reason::Spilled);
    assert_ne!(spilled.worker, first.worker);
    table.0 = vec![Some(100); 4];
    assert_eq!(choose(&home("a.example.com"), &table), Some(first));
}

#[test]
fn a_name_stays_on_one_worker_at_low_load() {
    let mut table = idle(16);
    let first = choose(&home("a.example.com"), &table).unwrap();
    table.0[first.worker as usize] = Some(SLACK);
    assert_eq!(choose(&home("a.example.com"), &table), Some(first));
    table.0[first.worker as usize] = Some(SLACK + 7); // 1.2 times the mean of 72 / 16 is 5.4
    assert_eq!(choose(&home("a.example.com"), &table).unwrap().reason, Reason::Spilled);
}

#[test]
fn names_leave_a_worker_in_proportion_to_its_overload() {
    let names: Vec<Home> =
        (0..4000).map(|name| home(&format!("host-{name}.example.com"))).collect();
    let own: Vec<&Home> =
        names.iter().filter(|name| choose(name, &idle(4)).unwrap().worker == 0).collect();
    // The mean is 1000; a name may have between 1050 and 1200 on a worker, plus the slack.
    let leaving = |load: u32| -> Vec<bool> {
        let others = (4000 - load) / 3;
        let table = Table(vec![Some(load + SLACK), Some(others), Some(others), Some(others)]);
        own.iter().map(|name| choose(name, &table).unwrap().worker != 0).collect()
    };
    let share = |load| {
        let leaving = leaving(load);
        leaving.iter().filter(|leaves| **leaves).count() as f64 / leaving.len() as f64
    };
    assert_eq!(share(1040), 0.0);
    assert!((0.4..0.6).contains(&share(1140)), "{}", share(1140));
    assert_eq!(share(1230), 1.0);
    // Names that leave at one load leave at every higher load: the same names each time.
    let (few, more) = (leaving(1090), leaving(1170));
    assert!(few.iter().zip(&more).all(|(few, more)| !few | more));
}

#[test]
fn names_spread_over_the_workers() {
    let mut names = [0_u32; 16];
    for name in 0..16_000 {
        let placed = choose(&home(&format!("host-{name}.example.com")), &idle(16)).unwrap();
        names[placed.worker as usize] += 1;
    }
    assert!(names.iter().all(|count| (900..1100).contains(count)), "{names:?}");
}

#[test]
fn a_key_is_the_name_reversed_and_ended() {
    let mut name = HostName::EMPTY;
    let hello = portcullis_abi::cases::Hello::to(b"WWW.example.com.").record();
    portcullis_abi::sni(hello.as_slice(), 0, &mut name);
    let mut key = NameKey::EMPTY;
    key.reversed = [0xff; 256];
    key.set(&name);
    assert_eq!(key.prefix_bits, 16 * 8);
    assert_eq!(&key.reversed[..16], b"moc.elpmaxe.www\0");
    let below = NameKey::of_suffix(b".example.com").unwrap();
    assert_eq!(key.reversed[..12], below.reversed[..12]);
    assert_eq!(below.prefix_bits, 12 * 8);
    assert_eq!(NameKey::of_suffix(&[b'a'; 254]), None);
}
