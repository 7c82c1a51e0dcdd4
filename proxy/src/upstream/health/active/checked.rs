//! An endpoint that is checked: a task that checks it again and again, and what is known by that.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak as RcWeak},
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    board::HealthBoard,
    context::{CheckContext, CheckEvent, PanicNotice},
    failure::CheckFailure,
    inherited::KnownVerdict,
    key::CheckKey,
    probe::EndpointProbe,
    stall::is_our_fault,
    verdict::{CheckResult, CheckState, Transition, Verdict, next_interval, up_to},
    watched::WatchedEndpoint,
};
use crate::observe::HealthCheckOutcome;

/// How long a check waits for the first resolution of a name before its own time begins.
const FIRST_RESOLUTION: Duration = Duration::from_secs(10);
/// How many clusters a log line names.
const MOST_NAMED: usize = 3;

/// An endpoint that is checked in one way, for all clusters that do so.
pub(super) struct CheckedEndpoint {
    key: CheckKey,
    probe: EndpointProbe,
    state: Cell<CheckState>,
    /// The last check failed.
    has_failed: Cell<bool>,
    watched: RefCell<Vec<Rc<WatchedEndpoint>>>,
    task: RefCell<Option<AbortHandle>>,
}

impl CheckedEndpoint {
    /// Begins with the verdict that is known, and does nothing yet.
    pub(super) fn new(
        key: CheckKey,
        probe: EndpointProbe,
        board: &HealthBoard,
    ) -> Rc<CheckedEndpoint> {
        let known = board.verdict(key).map_or(Verdict::Unknown, |known| known.verdict());
        Rc::new(CheckedEndpoint {
            key,
            probe,
            state: Cell::new(CheckState::new(known)),
            has_failed: Cell::new(false),
            watched: RefCell::default(),
            task: RefCell::default(),
        })
    }

    /// Whether there was a result.
    pub(super) fn is_known(&self) -> bool {
        self.state.get().verdict() != Verdict::Unknown
    }

    /// Forgets the endpoints of the former configuration.
    pub(super) fn clear_watched(&self) {
        self.watched.borrow_mut().clear();
    }

    /// Says what is known to another endpoint of a cluster.
    pub(super) fn add_watched(&self, watched: &Rc<WatchedEndpoint>, board: &HealthBoard) {
        if self.state.get().verdict() == Verdict::Down {
            watched.failed.set(watched.failed.get() + 1);
            let known = board.verdict(self.key).filter(|_| !watched.health.has_failed_check());
            if let Some(known) = known {
                watched.health.set_last_error(known.error);
            }
        }
        self.watched.borrow_mut().push(Rc::clone(watched));
    }

    /// Begins to check, unless it does already. Needs a `LocalSet`.
    pub(super) fn start(self: &Rc<Self>, context: &Rc<CheckContext>) {
        if self.task.borrow().is_none() {
            let checking = check_for_ever(Rc::downgrade(self), Rc::clone(context));
            let task = tokio::task::spawn_local(checking);
            *self.task.borrow_mut() = Some(task.abort_handle());
        }
    }

    /// Checks once; `None` if the result does not count.
    async fn check(&self, context: &CheckContext, due: Instant) -> Option<CheckResult> {
        let started_late = due.elapsed();
        // The start of our own resolver takes none of the check's time.
        if let Some(name) = self.probe.endpoint.name() {
            let _ = timeout(FIRST_RESOLUTION, name.resolved()).await;
        }
        // It is never closed.
        let _permit = context.under_way.acquire().await;
        let lost_before = context.stalls.lost_until(std::time::Instant::now());
        let checked = self.probe.run(&context.may_keep).await;
        let lost = context.stalls.lost_until(std::time::Instant::now()) - lost_before;
        match checked {
            Ok(()) => {
                context.metrics.checked(HealthCheckOutcome::Passed);
                self.passed(context);
                Some(CheckResult::Passed)
            }
            Err(failure)
                if !failure.is_for_sure
                    && is_our_fault(lost.max(started_late), self.probe.check.timeout) =>
            {
                context.metrics.checked(HealthCheckOutcome::Discarded);
                None
            }
            Err(failure) => {
                context.metrics.checked(HealthCheckOutcome::Failed);
                Some(self.failed(&failure))
            }
        }
    }

    fn passed(&self, context: &CheckContext) {
        if self.has_failed.replace(false) {
            self.watched.borrow().iter().for_each(|watched| watched.health.clear_last_error());
        }
        for watched in &*self.watched.borrow() {
            if watched.health.is_ejected() {
                let health = Arc::clone(&watched.health);
                let _ = context.events.send(CheckEvent::PassedWhileEjected(health));
            }
        }
    }

    fn failed(&self, failure: &CheckFailure) -> CheckResult {
        self.has_failed.set(true);
        for watched in &*self.watched.borrow() {
            watched.health.set_last_error(&*failure.text);
        }
        failure.result()
    }

    /// Takes a result over, and gives the time until the next check.
    fn take(&self, result: CheckResult, context: &CheckContext) -> Duration {
        let check = &self.probe.check;
        let was_known = self.is_known();
        let mut state = self.state.get();
        let transition = state.take(result, check.thresholds);
        let former = self.state.replace(state).verdict();
        if transition == Transition::Changed {
            self.publish(former, state.verdict(), context);
        }
        let random = &mut *context.random.borrow_mut();
        // Only looked for where it makes a difference: it takes a walk over the cluster.
        let has_traffic = check.intervals.no_traffic.is_none() || self.has_traffic();
        let next = next_interval(&check.intervals, result, transition, has_traffic, random);
        if was_known {
            return next;
        }
        let _ = context.events.send(CheckEvent::FirstResult);
        // The first checks of all endpoints begin at the same time, the next ones should not.
        up_to(next, random)
    }

    /// Says a new verdict to all clusters, the log, and the next process.
    fn publish(&self, former: Verdict, verdict: Verdict, context: &CheckContext) {
        let is_up = verdict == Verdict::Up;
        let watched = self.watched.borrow();
        if watched.is_empty() {
            // It has left the configuration.
            return;
        }
        let error = match watched.first().filter(|_| !is_up) {
            Some(watched) => watched.health.shown().last_error,
            None => String::new(),
        };
        for watched in &*watched {
            let failed = watched.failed.get();
            watched.failed.set(match (is_up, former) {
                (true, Verdict::Down) => failed.saturating_sub(1),
                (true, _) => failed,
                (false, _) => failed + 1,
            });
            if watched.apply() {
                let _ = context.events.send(CheckEvent::Changed(Weak::clone(&watched.cluster)));
            }
        }
        self.log(former, is_up, &error);
        context.board.note(self.key, KnownVerdict { is_up, error });
    }

    fn log(&self, former: Verdict, is_up: bool, error: &str) {
        let endpoint = self.probe.endpoint.to_string();
        let check = self.probe.check.checker.name();
        let clusters = names(&self.watched.borrow());
        match (is_up, former) {
            // That a start finds what it expects is no change.
            (true, Verdict::Unknown) => {}
            (true, _) => tracing::info!(
                endpoint,
                check,
                clusters,
                "an endpoint is up again: its \
                health check passes"
            ),
            (false, _) => tracing::warn!(
                endpoint,
                check,
                clusters,
                error,
                "an endpoint is down \
                and gets no new requests: its health check fails"
            ),
        }
    }

    fn has_traffic(&self) -> bool {
        self.watched.borrow().iter().filter_map(|watched| watched.cluster.upgrade()).any(
            |cluster| {
                cluster.current().endpoints().iter().any(|endpoint| endpoint.metrics.is_used())
            },
        )
    }
}

impl Drop for CheckedEndpoint {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

/// Ends when the endpoint is dropped.
async fn check_for_ever(checked: RcWeak<CheckedEndpoint>, context: Rc<CheckContext>) {
    let _notice = PanicNotice(context.events.clone());
    let Some(initial_jitter) = checked.upgrade().map(|checked| {
        let jitter = checked.probe.check.intervals.initial_jitter;
        up_to(jitter, &mut context.random.borrow_mut())
    }) else {
        return;
    };
    if !initial_jitter.is_zero() {
        sleep(initial_jitter).await;
    }
    let mut due = Instant::now();
    while let Some(checked) = checked.upgrade() {
        let wait = match checked.check(&context, due).await {
            Some(result) => checked.take(result, &context),
            None => checked.probe.check.intervals.interval,
        };
        drop(checked);
        due = Instant::now() + wait;
        sleep_until(due).await;
    }
}

/// The first clusters, and how many more.
fn names(watched: &[Rc<WatchedEndpoint>]) -> String {
    let mut names: Vec<&str> = watched.iter().map(|watched| &*watched.cluster_name).collect();
    names.dedup();
    let more = names.len().saturating_sub(MOST_NAMED);
    names.truncate(MOST_NAMED);
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
