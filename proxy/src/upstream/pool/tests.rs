use std::{cell::Cell, rc::Rc};

use proptest::prelude::*;

use super::*;

/// A connection whose state is set by the test.
#[derive(Debug, Clone)]
struct Fake {
    number: usize,
    state: Rc<Cell<State>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Ready,
    Busy,
    Closed,
}

impl Fake {
    fn new(number: usize) -> Fake {
        Fake { number, state: Rc::new(Cell::new(State::Ready)) }
    }
}

impl Pooled for Fake {
    fn is_ready(&self) -> bool {
        self.state.get() == State::Ready
    }
    fn is_closed(&self) -> bool {
        self.state.get() == State::Closed
    }
}

const LIMITS: Limits = Limits {
    idle_timeout: Duration::from_secs(60),
    lifetime: Duration::from_secs(600),
    silence: Duration::from_secs(5),
    no_stream: Duration::from_secs(1),
    max_idle: 3,
    max_streams: 20,
};

fn start() -> Instant {
    Instant::now()
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn idle_list(
    numbers: impl IntoIterator<Item = usize>,
    now: Instant,
) -> (IdleList<Fake>, Vec<Fake>) {
    let mut list = IdleList::new(LIMITS);
    let fakes: Vec<_> = numbers.into_iter().map(Fake::new).collect();
    for fake in &fakes {
        list.put(fake.clone(), None, now, now);
    }
    (list, fakes)
}

fn taken(list: &mut IdleList<Fake>, now: Instant) -> Option<usize> {
    list.take(now).map(|(fake, _)| fake.number)
}

#[test]
fn the_connection_used_last_is_taken_first() {
    let now = start();
    let (mut list, _) = idle_list([1, 2, 3], now);
    assert_eq!(taken(&mut list, now), Some(3));
    assert_eq!(taken(&mut list, now), Some(2));
    assert_eq!(taken(&mut list, now), Some(1));
    assert_eq!(taken(&mut list, now), None);
}

#[test]
fn a_full_list_gives_up_what_has_idled_longest() {
    let now = start();
    let (mut list, _) = idle_list([1, 2, 3, 4], now);
    assert_eq!(list.len(), 3);
    assert_eq!(taken(&mut list, now), Some(4));
    assert_eq!(taken(&mut list, now), Some(3));
    assert_eq!(taken(&mut list, now), Some(2));
    assert_eq!(taken(&mut list, now), None);
}

#[test]
fn a_list_without_room_keeps_nothing() {
    let now = start();
    let mut list = IdleList::new(Limits { max_idle: 0, ..LIMITS });
    list.put(Fake::new(1), None, now, now);
    assert_eq!(list.len(), 0);
}

#[test]
fn a_connection_idle_for_too_long_is_dropped_with_all_before_it() {
    let now = start();
    let (mut list, _) = idle_list([1, 2], now);
    list.put(Fake::new(3), None, now, now + s(30));
    assert_eq!(taken(&mut list, now + s(89)), Some(3));
    assert_eq!(taken(&mut list, now + s(89)), None);
    assert_eq!(list.len(), 0);
}

#[test]
fn a_connection_past_its_lifetime_is_not_reused() {
    let now = start();
    let mut list = IdleList::new(LIMITS);
    list.put(Fake::new(1), None, now, now + s(590));
    assert_eq!(taken(&mut list, now + s(600)), None);
    list.put(Fake::new(2), None, now, now + s(600));
    assert_eq!(list.len(), 0);
}

#[test]
fn a_connection_with_an_owner_goes_to_its_owner_alone() {
    let now = start();
    let (mut list, _) = idle_list([1], now);
    let (one, other) = (OwnerId(1), OwnerId(2));
    list.put(Fake::new(2), Some(one), now, now);
    list.put(Fake::new(3), Some(other), now, now);
    assert_eq!(taken(&mut list, now), Some(1));
    assert_eq!(taken(&mut list, now), None);
    assert_eq!(list.take_of(Some(one), now).unwrap().0.number, 2);
    assert!(list.take_of(Some(one), now).is_none());
    list.drop_owned(one);
    assert_eq!(list.len(), 1);
    list.drop_owned(other);
    assert_eq!(list.len(), 0);
}

#[test]
fn connections_with_owners_leave_a_full_list_too() {
    let now = start();
    let mut list = IdleList::new(LIMITS);
    for number in 1..=4 {
        list.put(Fake::new(number), Some(OwnerId(1)), now, now);
    }
    assert_eq!(list.len(), LIMITS.max_idle);
}

#[test]
fn the_time_of_birth_comes_back_with_the_connection() {
    let now = start();
    let mut list = IdleList::new(LIMITS);
    list.put(Fake::new(1), None, now, now + s(50));
    assert_eq!(list.take(now + s(60)).unwrap().1, now);
}

#[test]
fn a_closed_connection_is_passed_over_and_forgotten() {
    let now = start();
    let (mut list, fakes) = idle_list([1, 2], now);
    fakes[1].state.set(State::Closed);
    assert_eq!(taken(&mut list, now), Some(1));
    assert_eq!(list.len(), 0);
}

#[test]
fn a_connection_that_is_not_ready_is_passed_over_and_kept() {
    let now = start();
    let (mut list, fakes) = idle_list([1, 2], now);
    fakes[1].state.set(State::Busy);
    assert_eq!(taken(&mut list, now), Some(1));
    assert_eq!(taken(&mut list, now), None);
    fakes[1].state.set(State::Ready);
    assert_eq!(taken(&mut list, now), Some(2));
}

#[test]
fn a_closed_connection_is_not_put_back() {
    let now = start();
    let mut list = IdleList::new(LIMITS);
    let fake = Fake::new(1);
    fake.state.set(State::Closed);
    list.put(fake, None, now, now);
    assert_eq!(list.len(), 0);
}

#[test]
fn reaping_drops_what_expired_or_closed() {
    let now = start();
    let (mut list, fakes) = idle_list([1, 2], now);
    list.put(Fake::new(3), None, now, now + s(30));
    fakes[0].state.set(State::Closed);
    list.reap(now + s(31));
    assert_eq!(list.len(), 2);
    list.reap(now + s(60));
    assert_eq!(list.len(), 1);
    list.reap(now + s(90));
    assert_eq!(list.len(), 0);
}

fn shared_list(max_streams: usize) -> (SharedList<Fake>, Rc<Cell<usize>>, Fake, Instant) {
    let now = start();
    let (limit, fake) = (Rc::new(Cell::new(max_streams)), Fake::new(1));
    let mut list = SharedList::new(LIMITS);
    let first = list.add(fake.clone(), limit.clone(), now);
    first.hear(now);
    first.leave(now);
    (list, limit, fake, now)
}

fn joins(list: &mut SharedList<Fake>, now: Instant) -> bool {
    list.join(now, |_| true).is_some()
}

#[test]
fn streams_stay_below_what_the_peer_allows() {
    let (mut list, limit, _, now) = shared_list(2);
    let first = list.join(now, |_| true).unwrap();
    assert!(joins(&mut list, now));
    assert!(!joins(&mut list, now));
    limit.set(3);
    assert!(joins(&mut list, now));
    first.leave(now);
    assert!(joins(&mut list, now));
    assert!(!joins(&mut list, now));
}

#[test]
fn a_peer_that_allows_no_stream_gets_one_that_waits() {
    let (mut list, _, _, now) = shared_list(0);
    assert!(joins(&mut list, now));
    assert!(!joins(&mut list, now));
}

#[test]
fn streams_stay_below_our_own_limit_though_the_peer_allows_more() {
    let (mut list, _, _, now) = shared_list(usize::MAX);
    let open: Vec<_> = (0..LIMITS.max_streams).map(|_| list.join(now, |_| true).unwrap()).collect();
    assert!(!joins(&mut list, now));
    open[0].leave(now);
    assert!(joins(&mut list, now));
}

#[test]
fn a_new_connection_carries_the_stream_it_was_made_for() {
    let now = start();
    let mut list = SharedList::new(LIMITS);
    list.add(Fake::new(1), Rc::new(Cell::new(1)), now);
    assert!(!joins(&mut list, now));
    assert_eq!((list.len(), list.idle()), (1, 0));
}

#[test]
fn the_oldest_connection_with_room_is_used() {
    let (mut list, _, _, now) = shared_list(1);
    list.add(Fake::new(2), Rc::new(Cell::new(1)), now).leave(now);
    assert_eq!(list.join(now, |_| true).unwrap().connection.number, 1);
    assert_eq!(list.join(now, |_| true).unwrap().connection.number, 2);
}

#[test]
fn an_unusable_connection_takes_no_stream() {
    let (mut list, _, fake, now) = shared_list(9);
    fake.state.set(State::Closed);
    assert!(!joins(&mut list, now));
    let (mut list, _, _, now) = shared_list(9);
    list.join(now, |_| true).unwrap().retire();
    assert!(!joins(&mut list, now));
    let (mut list, _, _, now) = shared_list(9);
    let _open = list.join(now, |_| true);
    assert!(!joins(&mut list, now + s(600)));
    let (mut list, _, _, now) = shared_list(9);
    assert!(list.join(now, |_| false).is_none());
    assert_eq!(list.len(), 0);
}

#[test]
fn a_connection_with_open_streams_does_not_idle_out() {
    let (mut list, _, _, now) = shared_list(9);
    let open = list.join(now, |_| true).unwrap();
    list.reap(now + s(100), |_| true);
    assert_eq!((list.len(), list.idle()), (1, 0));
    open.leave(now + s(100));
    list.reap(now + s(159), |_| true);
    assert_eq!((list.len(), list.idle()), (1, 1));
    list.reap(now + s(160), |_| true);
    assert_eq!(list.len(), 0);
}

/// Whether a connection takes another request after these, which are sent at some second and given up
/// at another; `None` is answered at once.
fn takes_requests_after(max_streams: usize, requests: &[(u64, Option<u64>)]) -> bool {
    let (mut list, limit, _, now) = shared_list(9);
    limit.set(max_streams);
    for (sent, given_up) in requests {
        let Some(request) = list.join(now + s(*sent), |_| true) else { return false };
        match given_up {
            Some(given_up) => request.give_up(now + s(*given_up)),
            None => request.hear(now + s(*sent)),
        }
        request.leave(now + s(given_up.unwrap_or(*sent)));
    }
    joins(&mut list, now + s(100))
}

#[test]
fn a_connection_silent_during_a_time_out_takes_no_request() {
    assert!(takes_requests_after(9, &[(40, Some(44))]), "no time to tell");
    assert!(!takes_requests_after(9, &[(40, Some(45))]));
}

#[test]
fn silence_adds_up_over_short_requests() {
    assert!(!takes_requests_after(9, &[(40, Some(43)), (43, Some(46))]));
    assert!(takes_requests_after(9, &[(40, Some(43)), (43, None), (43, Some(46))]), "answered");
    assert!(takes_requests_after(9, &[(40, Some(42)), (80, Some(82))]), "nobody waited between");
}

#[test]
fn silence_is_that_of_all_requests() {
    let (mut list, _, _, now) = shared_list(9);
    let mut join = |at| list.join(now + s(at), |_| true).unwrap();
    let (first, second, third) = (join(0), join(0), join(3));
    second.hear(now + s(2));
    first.give_up(now + s(6));
    assert!(joins(&mut list, now + s(6)), "another request was answered 4 s ago");
    third.give_up(now + s(7));
    assert!(!joins(&mut list, now + s(7)), "the peer has said nothing for 5 s");
}

#[test]
fn a_peer_that_allows_no_stream_is_given_up_after_a_second() {
    assert!(!takes_requests_after(0, &[(40, Some(41))]));
    let (mut list, _, _, now) = shared_list(0);
    let request = list.join(now, |_| true).unwrap();
    request.give_up(now + s(1) / 2);
    request.leave(now + s(1) / 2);
    assert!(joins(&mut list, now + s(1)), "it may allow one soon");
}

#[derive(Debug, Clone)]
enum Step {
    Put { age_s: u64 },
    Take,
    Close(usize),
    Busy(usize),
    Ready(usize),
    Pass(u64),
    Reap,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..700u64).prop_map(|age_s| Step::Put { age_s }),
        4 => Just(Step::Take),
        1 => (0..20usize).prop_map(Step::Close),
        1 => (0..20usize).prop_map(Step::Busy),
        1 => (0..20usize).prop_map(Step::Ready),
        2 => (1..40u64).prop_map(Step::Pass),
        1 => Just(Step::Reap),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Compares the pool with a model that knows when each connection was established and when it
    /// became idle.
    #[test]
    fn what_is_taken_is_always_the_youngest_idle_that_may_serve(steps in steps()) {
        let mut list = IdleList::new(Limits { max_idle: usize::MAX, ..LIMITS });
        let mut model: Vec<(Fake, Instant, Instant)> = Vec::new();
        let mut now = start() + s(1000);
        let mut made: Vec<Fake> = Vec::new();
        for step in steps {
            let set = |n: usize, state| made.get(n).inspect(|fake| {
                if fake.state.get() != State::Closed {
                    fake.state.set(state);
                }
            });
            match step {
                Step::Put { age_s } => {
                    let (fake, born) = (Fake::new(made.len()), now - s(age_s));
                    list.put(fake.clone(), None, born, now);
                    made.push(fake.clone());
                    if !LIMITS.too_old(born, now) {
                        model.push((fake, born, now));
                    }
                }
                Step::Take => {
                    let usable = model.iter().rposition(|(fake, born, since)| {
                        fake.is_ready() && !LIMITS.too_old(*born, now) && *since + s(60) > now
                    });
                    let expected = usable.map(|at| model.remove(at));
                    let got = list.take(now);
                    prop_assert_eq!(
                        got.map(|(fake, born)| (fake.number, born)),
                        expected.map(|(fake, born, _)| (fake.number, born))
                    );
                }
                Step::Close(n) => drop(set(n, State::Closed)),
                Step::Busy(n) => drop(set(n, State::Busy)),
                Step::Ready(n) => drop(set(n, State::Ready)),
                Step::Pass(seconds) => now += s(seconds),
                Step::Reap => list.reap(now),
            }
            prop_assert!(list.len() <= model.len());
        }
    }

    #[test]
    fn no_connection_ever_carries_more_streams_than_allowed(
        limit in 1..5usize,
        joins in prop::collection::vec(any::<bool>(), 1..60),
    ) {
        let now = start();
        let mut list = SharedList::new(LIMITS);
        let mut open: Vec<Rc<SharedConnection<Fake>>> = Vec::new();
        for join in joins {
            if join {
                let member = list.join(now, |_| true).unwrap_or_else(|| {
                    list.add(Fake::new(0), Rc::new(Cell::new(limit)), now)
                });
                open.push(member);
            } else if let Some(member) = open.pop() {
                member.leave(now);
            }
            for member in &open {
                let on_it = open.iter().filter(|other| Rc::ptr_eq(member, other)).count();
                prop_assert!(on_it <= limit);
            }
            prop_assert_eq!(list.len() >= open.len().div_ceil(limit), true);
        }
    }
}
