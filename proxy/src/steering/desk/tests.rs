use super::*;
use crate::steering::{ModeChoice, SteeringSpec};

fn desks() -> (Arc<Steering>, Vec<Rc<Desk<&'static str>>>) {
    let spec = SteeringSpec { hosts: vec!["a.example".into()], ..SteeringSpec::default() };
    let rules = Arc::new(Rules::new(&spec, 2).unwrap());
    let steering = Arc::new(Steering::start(ModeChoice::Handoff, &[], 2, rules).unwrap());
    let mailboxes = Mailboxes::new(2);
    let desk = |worker| {
        let observer = Rc::new(WorkerObserver::detached(worker));
        Rc::new(Desk::new(Arc::clone(&steering), mailboxes.clone(), observer))
    };
    let desks = vec![desk(0), desk(1)];
    desks.iter().for_each(|desk| desk.set_open(0, 10));
    (steering, desks)
}

fn load(steering: &Steering, worker: u32) -> Option<u32> {
    steering.board().slot(worker).unwrap().current()
}

#[test]
fn what_is_on_its_way_counts_until_it_is_taken_and_then_no_more() {
    let (steering, desks) = desks();
    let queue = desks[1].queue();
    desks[0].hand_to(1, "a").unwrap();
    desks[0].hand_to(1, "b").unwrap();
    assert_eq!(load(&steering, 1), Some(2));
    queue.took();
    assert_eq!(load(&steering, 1), Some(1));
    queue.took();
    assert_eq!(load(&steering, 1), Some(0));
}

#[test]
fn what_was_sent_and_never_came_is_forgotten_once_all_queues_are_empty() {
    let (steering, desks) = desks();
    let (first, second) = (desks[1].queue(), desks[1].queue());
    steering.board().slot(1).unwrap().send();
    first.found_empty();
    assert_eq!(load(&steering, 1), Some(1), "it may be in the other queue");
    second.found_empty();
    assert_eq!(load(&steering, 1), Some(0));
    steering.board().slot(1).unwrap().send();
    second.took();
    first.found_empty();
    steering.board().slot(1).unwrap().send();
    first.found_empty();
    assert_eq!(load(&steering, 1), Some(1), "the second was not found empty since");
}

#[test]
fn a_worker_is_not_to_be_chosen_when_it_is_full_drained_or_ending() {
    let (steering, desks) = desks();
    desks[0].set_open(10, 10);
    assert_eq!(load(&steering, 0), None);
    desks[0].set_open(9, 10);
    assert_eq!(load(&steering, 0), Some(9));
    steering.set_drained(0, true).unwrap();
    assert_eq!(load(&steering, 0), None);
    desks[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), None);
    steering.set_drained(0, false).unwrap();
    desks[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), Some(1));
    desks[0].close();
    desks[0].set_open(1, 10);
    assert_eq!(load(&steering, 0), None);
}

#[test]
fn a_connection_that_settles_counts_twice_at_first() {
    let (steering, desks) = desks();
    desks[0].set_open(1, 10);
    desks[0].settle();
    assert_eq!(load(&steering, 0), Some(2));
}

#[test]
fn what_cannot_be_handed_over_comes_back_and_is_counted() {
    let (_, desks) = desks();
    desks[1].inbox().unwrap().close();
    assert_eq!(desks[0].hand_to(1, "a"), Err("a"));
    assert_eq!(desks[0].hand_to(7, "a"), Err("a"));
    let counted = &desks[0].observer.metrics.steering;
    assert_eq!(counted.get(SteeringOutcome::HandedOff), 0);
    assert_eq!(counted.get(SteeringOutcome::WorkerUnavailable), 1);
}
