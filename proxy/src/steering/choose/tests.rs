use proptest::prelude::*;

use super::*;
use crate::steering::{Pin, SteeringSpec};

/// The load of each worker; `None` for one that accepts no connections.
#[derive(Debug)]
struct Table(Vec<Option<u32>>);

impl Loads for Table {
    fn load(&self, worker: u32) -> Option<u32> {
        self.0.get(worker as usize).copied().flatten()
    }
}

const HOST: &str = "a.example";

fn spec() -> SteeringSpec {
    SteeringSpec { hosts: vec![HOST.into()], ..SteeringSpec::default() }
}

fn rules(workers: u32) -> SteeringRules {
    SteeringRules::new(&spec(), workers).unwrap()
}

fn home(rules: &SteeringRules) -> Home {
    rules.names.find(HOST.as_bytes()).unwrap().home
}

/// The workers in the name's order of preference.
fn order(rules: &SteeringRules) -> Vec<u32> {
    let home = home(rules);
    let mut workers: Vec<_> = (0..rules.balance.workers).collect();
    workers.sort_by_key(|worker| std::cmp::Reverse(home.preference(*worker)));
    workers
}

/// The worker's own load includes the connection, as its count of open connections does.
fn ask(
    mode: Mode,
    rules: &SteeringRules,
    name: Option<&str>,
    worker: u32,
    mut table: Table,
) -> (Choice, Option<SteeringOutcome>) {
    if let Some(load) = &mut table.0[worker as usize] {
        *load += 1;
    }
    let request = PlacementRequest { worker, name: name.map(str::as_bytes), flow: 7 };
    choose(mode, rules, request, &table)
}

fn idle(workers: u32) -> Table {
    Table(vec![Some(0); workers as usize])
}

#[test]
fn by_hand_off_a_name_goes_home_from_any_worker() {
    let rules = rules(4);
    let first = order(&rules)[0];
    for worker in 0..4 {
        let expected = if worker == first { Choice::Stay } else { Choice::HandTo(first) };
        let chosen = ask(Mode::Handoff, &rules, Some(HOST), worker, idle(4));
        assert_eq!(chosen, (expected, Some(SteeringOutcome::Steered)));
    }
}

#[test]
fn the_connection_itself_does_not_count_as_load_of_its_worker() {
    let rules = rules(4);
    let first = order(&rules)[0];
    // With ten on each, the limit is thirteen for the one to come.
    let mut table = Table(vec![Some(10); 4]);
    table.0[first as usize] = Some(12);
    assert_eq!(ask(Mode::Handoff, &rules, Some(HOST), first, table).0, Choice::Stay);
}

#[test]
fn a_connection_without_a_home_leaves_only_a_drained_worker() {
    let rules = rules(4);
    for mode in [Mode::Handoff, Mode::Kernel] {
        for name in [None, Some("b.example")] {
            assert_eq!(ask(mode, &rules, name, 2, idle(4)).0, Choice::Stay);
            let mut drained = idle(4);
            drained.0[2] = None;
            let chosen = ask(mode, &rules, name, 2, drained).0;
            assert!(matches!(chosen, Choice::HandTo(worker) if worker != 2), "{chosen:?}");
        }
    }
}

#[test]
fn connections_stay_when_no_worker_accepts_any() {
    let rules = rules(3);
    for mode in [Mode::Handoff, Mode::Kernel, Mode::None] {
        for name in [None, Some(HOST), Some("b.example")] {
            let chosen = ask(mode, &rules, name, 1, Table(vec![None; 3])).0;
            assert_eq!(chosen, Choice::Stay, "{mode:?} {name:?}");
        }
    }
}

#[test]
fn without_steering_everything_stays() {
    let rules = rules(4);
    for worker in 0..4 {
        let chosen = ask(Mode::None, &rules, Some(HOST), worker, idle(4));
        assert_eq!(chosen, (Choice::Stay, None));
    }
}

#[test]
fn unknown_names_are_refused_in_every_mode_if_configured() {
    let rules = SteeringRules::new(&SteeringSpec { refuse_unknown: true, ..spec() }, 2).unwrap();
    for mode in [Mode::Handoff, Mode::Kernel, Mode::None] {
        let chosen = ask(mode, &rules, Some("b.example"), 0, idle(2));
        assert_eq!(chosen, (Choice::Refuse, Some(SteeringOutcome::UnknownRefused)));
        assert_ne!(ask(mode, &rules, None, 0, idle(2)).0, Choice::Refuse);
        assert_ne!(ask(mode, &rules, Some(HOST), 0, idle(2)).0, Choice::Refuse);
    }
}

#[test]
fn a_pinned_name_leaves_a_worker_that_it_is_not_pinned_to() {
    let pins = vec![Pin { host: HOST.into(), workers: vec![1] }];
    let rules = SteeringRules::new(&SteeringSpec { pins, ..spec() }, 4).unwrap();
    for mode in [Mode::Handoff, Mode::Kernel] {
        // Whatever the load of its worker.
        let table = Table(vec![Some(0), Some(1000), Some(0), Some(0)]);
        assert_eq!(ask(mode, &rules, Some(HOST), 0, table).0, Choice::HandTo(1));
    }
}

#[test]
fn after_kernel_steering_spilled_ones_stay_and_stray_ones_move() {
    let rules = rules(4);
    let order = order(&rules);
    let mut full = Table(vec![Some(200); 4]);
    full.0[order[0] as usize] = Some(320);
    full.0[order[1] as usize] = Some(160);
    assert_eq!(ask(Mode::Kernel, &rules, Some(HOST), order[1], full).0, Choice::Stay);
    assert_eq!(
        ask(Mode::Kernel, &rules, Some(HOST), order[3], idle(4)).0,
        Choice::HandTo(order[0])
    );
    assert_eq!(ask(Mode::Kernel, &rules, Some(HOST), order[0], idle(4)).0, Choice::Stay);
}

#[test]
fn after_kernel_steering_a_stray_moves_to_a_home_with_room() {
    let rules = rules(4);
    let order = order(&rules);
    let ask = |load| {
        let mut table = Table(vec![Some(1000); 4]);
        table.0[order[0] as usize] = Some(load);
        ask(Mode::Kernel, &rules, Some(HOST), order[1], table).0
    };
    assert_eq!(ask(1100), Choice::HandTo(order[0]), "halfway to its limit");
    assert_eq!(ask(1250), Choice::Stay, "the kernel may have seen it above its bound");
}

fn tables() -> impl Strategy<Value = Table> {
    let load = prop_oneof![4 => (0..100_u32).prop_map(Some), 1 => Just(None)];
    proptest::collection::vec(load, 1..40).prop_map(Table)
}

proptest! {
    #[test]
    fn a_connection_is_handed_only_to_another_available_worker(
        table in tables(),
        worker in any::<prop::sample::Index>(),
        name in prop_oneof![Just(None), Just(Some(HOST)), Just(Some("b.example"))],
        mode in prop_oneof![Just(Mode::Handoff), Just(Mode::Kernel), Just(Mode::None)],
    ) {
        let rules = rules(table.0.len() as u32);
        let worker = worker.index(table.0.len()) as u32;
        let takes: Vec<_> = table.0.iter().map(Option::is_some).collect();
        if let Choice::HandTo(other) = ask(mode, &rules, name, worker, table).0 {
            prop_assert!(takes[other as usize] && other != worker);
        }
    }

    #[test]
    fn after_kernel_steering_a_connection_only_moves_up_its_order(
        table in tables(),
        worker in any::<prop::sample::Index>(),
    ) {
        let rules = rules(table.0.len() as u32);
        let worker = worker.index(table.0.len()) as u32;
        let open = table.0[worker as usize].is_some();
        if let (Choice::HandTo(other), true) =
            (ask(Mode::Kernel, &rules, Some(HOST), worker, table).0, open)
        {
            let home = home(&rules);
            prop_assert!(home.preference(other) > home.preference(worker));
        }
    }
}
