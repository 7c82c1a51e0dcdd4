//! A value of the provider's that is fetched when it is needed, and kept.

use std::{
    cell::{Cell, RefCell},
    ops::Range,
    rc::Rc,
    time::Duration,
};

use tokio::sync::Mutex;

use crate::identity::{calls::ProviderFailure, rare_warning::RareWarning};

/// The bounds of `max-age`, and what holds without it.
const SHORTEST: Duration = Duration::from_secs(5 * 60);
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT: Duration = Duration::from_secs(60 * 60);
/// How long an old value is used before the provider is asked again, once it could not be fetched;
/// and the time between two fetches that a token of an unknown key causes.
const PAUSE_S: u64 = 60;

/// At most one fetch is under way at a time; others wait for its result.
pub(super) struct Fetched<T> {
    one_at_a_time: Mutex<()>,
    kept: RefCell<Option<Kept<T>>>,
    /// Fetches that have ended.
    fetches: Cell<u64>,
    failure: RefCell<Option<ProviderFailure>>,
    forced_at_s: Cell<Option<u64>>,
    /// The last fetch failed.
    is_away: Cell<bool>,
    warning: RareWarning,
}

struct Kept<T> {
    value: Rc<T>,
    fresh_s: Range<u64>,
}

/// A value, and the `max-age` it came with.
pub(super) type Fresh<T> = Result<(T, Option<Duration>), ProviderFailure>;

impl<T> Fetched<T> {
    /// The kept value, or a fetched one if it is too old. If that cannot be fetched, the old one
    /// stays. `what` is for the log.
    pub(super) async fn get(
        &self,
        what: &str,
        now_s: u64,
        fetch: impl Future<Output = Fresh<T>>,
    ) -> Result<Rc<T>, ProviderFailure> {
        if let Some(fresh) = self.fresh(now_s) {
            return Ok(fresh);
        }
        let before = self.fetches.get();
        let _turn = self.one_at_a_time.lock().await;
        if self.fetches.get() == before {
            self.run(what, now_s, fetch).await;
        }
        let unavailable = || ProviderFailure::Away(format!("its {what} could not be fetched"));
        let failure = || self.failure.borrow().clone().unwrap_or_else(unavailable);
        self.kept().ok_or_else(failure)
    }

    /// A newer value than `used`, which lacks something: fetched at most once a minute. `None` if
    /// there is none.
    pub(super) async fn newer(
        &self,
        what: &str,
        used: &Rc<T>,
        now_s: u64,
        fetch: impl Future<Output = Fresh<T>>,
    ) -> Option<Rc<T>> {
        let is_newer = |kept: &Rc<T>| !Rc::ptr_eq(kept, used);
        let _turn = self.one_at_a_time.lock().await;
        if let Some(newer) = self.kept().filter(is_newer) {
            return Some(newer);
        }
        // A clock that was set back must not stop fetches for long.
        if self.forced_at_s.get().is_some_and(|at_s| at_s.abs_diff(now_s) < PAUSE_S) {
            return None;
        }
        self.forced_at_s.set(Some(now_s));
        self.run(what, now_s, fetch).await;
        self.kept().filter(is_newer)
    }

    /// Until when the kept value is used without a fetch; 0 if there is none.
    pub(super) fn fresh_until_s(&self) -> u64 {
        self.kept.borrow().as_ref().map_or(0, |kept| kept.fresh_s.end)
    }

    /// When [`Fetched::newer`] last fetched.
    pub(super) fn forced_at_s(&self) -> Option<u64> {
        self.forced_at_s.get()
    }

    /// Whether the last fetch failed.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.get()
    }

    async fn run(&self, what: &str, now_s: u64, fetch: impl Future<Output = Fresh<T>>) {
        let fetched = fetch.await;
        self.fetches.set(self.fetches.get() + 1);
        self.is_away.set(fetched.is_err());
        match fetched {
            Ok((value, max_age)) => {
                let age = max_age.unwrap_or(DEFAULT).clamp(SHORTEST, LONGEST);
                let fresh_s = now_s..now_s.saturating_add(age.as_secs());
                *self.kept.borrow_mut() = Some(Kept { value: Rc::new(value), fresh_s });
            }
            Err(failure) => {
                self.warning.write(now_s, |left_out| {
                    tracing::warn!(
                        left_out,
                        "cannot fetch the identity provider's {what}: {failure}"
                    );
                });
                if let Some(kept) = &mut *self.kept.borrow_mut() {
                    kept.fresh_s = now_s..now_s.saturating_add(PAUSE_S);
                }
                *self.failure.borrow_mut() = Some(failure);
            }
        }
    }

    fn fresh(&self, now_s: u64) -> Option<Rc<T>> {
        let kept = self.kept.borrow();
        kept.as_ref()
            .filter(|kept| kept.fresh_s.contains(&now_s))
            .map(|kept| Rc::clone(&kept.value))
    }

    fn kept(&self) -> Option<Rc<T>> {
        self.kept.borrow().as_ref().map(|kept| Rc::clone(&kept.value))
    }
}

impl<T> Default for Fetched<T> {
    fn default() -> Self {
        Fetched {
            one_at_a_time: Mutex::default(),
            kept: RefCell::default(),
            fetches: Cell::default(),
            failure: RefCell::default(),
            forced_at_s: Cell::default(),
            is_away: Cell::default(),
            warning: RareWarning::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const AWAY: Fresh<u32> = Err(ProviderFailure::Busy);

    /// Runs futures that never wait for anything but each other.
    fn now<F: Future>(future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("it waits"),
        }
    }

    fn get(fetched: &Fetched<u32>, now_s: u64, answer: Fresh<u32>) -> Option<u32> {
        now(fetched.get("keys", now_s, async { answer })).ok().map(|value| *value)
    }

    #[test]
    fn a_value_is_kept_for_its_age_within_bounds() {
        for (max_age, kept_s) in
            [(None, 3600), (Some(0), 300), (Some(7200), 7200), (Some(1 << 40), 86_400)]
        {
            let fetched = Fetched::default();
            let max_age = max_age.map(Duration::from_secs);
            assert_eq!(get(&fetched, 1000, Ok((1, max_age))), Some(1));
            assert_eq!(get(&fetched, 999 + kept_s, Ok((2, None))), Some(1), "{max_age:?}");
            assert_eq!(get(&fetched, 1000 + kept_s, Ok((3, None))), Some(3), "{max_age:?}");
        }
    }

    #[test]
    fn an_old_value_stays_while_the_provider_is_away() {
        let fetched = Fetched::default();
        assert_eq!(get(&fetched, 0, AWAY), None);
        assert_eq!(get(&fetched, 0, Ok((1, None))), Some(1));
        assert_eq!(get(&fetched, 3600, AWAY), Some(1));
        assert_eq!(get(&fetched, 3659, Ok((2, None))), Some(1), "it is not asked again at once");
        assert_eq!(get(&fetched, 3660, Ok((2, None))), Some(2));
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_keep_a_value_forever() {
        let fetched = Fetched::default();
        assert_eq!(get(&fetched, 100_000, Ok((1, None))), Some(1));
        assert_eq!(get(&fetched, 50, Ok((2, None))), Some(2));
    }

    #[test]
    fn those_who_wait_get_the_result_of_the_one_fetch() {
        let fetched = Fetched::default();
        let (send, receive) = tokio::sync::oneshot::channel();
        let mut first = Box::pin(fetched.get("keys", 0, async { receive.await.unwrap() }));
        let mut second = Box::pin(fetched.get("keys", 0, async { panic!("a second fetch") }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        send.send(AWAY).unwrap();
        assert_eq!(now(first), Err(ProviderFailure::Busy));
        assert_eq!(now(second), Err(ProviderFailure::Busy));
    }

    #[test]
    fn unknown_keys_cause_one_fetch_a_minute() {
        let fetched = Fetched::default();
        let mut used = now(fetched.get("keys", 0, async { Ok((0, None)) })).unwrap();
        let mut fetches = 0;
        for now_s in 0..600 {
            let newer = fetched.newer("keys", &used, now_s, async {
                fetches += 1;
                Ok((now_s, None))
            });
            if let Some(newer) = now(newer) {
                used = newer;
            }
        }
        assert_eq!(fetches, 10);
    }

    #[test]
    fn a_value_that_another_fetched_meanwhile_is_taken() {
        let fetched = Fetched::default();
        let used = now(fetched.get("keys", 0, async { Ok((1, None)) })).unwrap();
        let newer = now(fetched.newer("keys", &used, 0, async { Ok((2, None)) })).unwrap();
        let third = now(fetched.newer("keys", &used, 0, async { panic!("fetched again") }));
        assert!(Rc::ptr_eq(&third.unwrap(), &newer));
    }
}
