use super::*;
use crate::steering::{ModeChoice, SteeringSpec};

fn two_workers() -> (Arc<Steering>, Vec<Rc<WorkerSteering<&'static str>>>) {
    let spec = SteeringSpec { hosts: vec!["a.example".into()], ..SteeringSpec::default() };
    let rules = Arc::new(SteeringRules::new(&spec, 2).unwrap());
    let steering = Arc::new(Steering::start(ModeChoice::Handoff, &[], 2, rules, Ok(())).unwrap());
    let mailboxes = Mailboxes::new(2);
    let start = |worker| {
        let observer = Rc::new(WorkerObserver::detached(worker));
        Rc::new(WorkerSteering::new(Arc::clone(&steering), mailboxes.clone(), observer))
    };
    let workers = vec![start(0), start(1)];
    workers.iter().for_each(|worker| worker.set_open(0, 10));
    (steering, workers)
}

fn load(steering: &Steering, worker: u32) -> Option<u32> {
    steering.load_table().slot(worker).unwrap().current()
}

#[test]
fn a_connection_under_way_counts_until_it_is_taken() {
    let (steering, workers) = two_workers();
    let queue = workers[1].queue();
    workers[0].hand_to(1, "a").unwrap();
    workers[0].hand_to(1, "b").unwrap();
    assert_eq!(load(&steering, 1), Some(2));
    queue.took();
    assert_eq!(load(&steering, 1), Some(1));
    queue.took();
    assert_eq!(load(&steering, 1), Some(0));
}

#[test]
fn connections_that_never_arrive_are_not_counted_for_long() {
    let (steering, workers) = two_workers();
    let (first, second) = (workers[1].queue(), workers[1].queue());
    steering.load_table().slot(1).unwrap().send();
    first.found_empty();
    assert_eq!(load(&steering, 1), Some(1), "it may be in the other queue");
    second.found_empty();
    assert_eq!(load(&steering, 1), Some(0));
    steering.load_table().slot(1).unwrap().send();
    second.took();
    first.found_empty();
    steering.load_table().slot(1).unwrap().send();
    first.found_empty();
    assert_eq!(load(&steering, 1), Some(1), "the second was not found empty since");
}

#[test]
fn a_worker_that_is_full_drained_or_ending_is_not_available() {
    let (steering, workers) = two_workers();
    workers[0].set_open(10, 10);
    assert_eq!(load(&steering, 0), None);
    workers[0].set_open(9, 10);
    assert_eq!(load(&steering, 0), Some(9));
    steering.set_drained(0, true).unwrap();
    assert_eq!(load(&steering, 0), None);
    workers[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), None);
    steering.set_drained(0, false).unwrap();
    workers[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), Some(1));
    workers[0].close();
    workers[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), None);
}

#[test]
fn a_connection_that_settles_counts_twice_at_first() {
    let (steering, workers) = two_workers();
    workers[0].set_open(1, 10);
    workers[0].settle();
    assert_eq!(load(&steering, 0), Some(2));
}

#[test]
fn a_failed_hand_over_returns_the_connection_and_is_counted() {
    let (_, workers) = two_workers();
    workers[1].inbox().unwrap().close();
    assert_eq!(workers[0].hand_to(1, "a"), Err("a"));
    assert_eq!(workers[0].hand_to(7, "a"), Err("a"));
    let counted = &workers[0].observer.metrics.steering;
    assert_eq!(counted.get(SteeringOutcome::HandedOff), 0);
    assert_eq!(counted.get(SteeringOutcome::WorkerUnavailable), 1);
}
