//! When the loops of a thread begin their units.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::sync::Mutex;

use crate::{schedule::Schedule, timer::Timer};

/// The number of units that all threads may still begin.
#[derive(Debug, Default)]
pub(crate) struct Units(AtomicU64);

/// The pace of one period.
#[derive(Debug)]
pub(crate) struct Pace {
    begin: Instant,
    end: Instant,
    units: Arc<Units>,
    /// The schedule of an open loop. The loop that holds the lock waits for the unit that is due
    /// next; the others queue for the lock, and so take turns.
    open: Option<Mutex<(Schedule, Timer)>>,
}

impl Units {
    /// Sets the number of units for another period.
    pub(crate) fn set(&self, units: u64) {
        self.0.store(units, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

impl Pace {
    /// Begins a period now.
    pub(crate) fn new(time: Duration, units: Arc<Units>, open: Option<Schedule>) -> Result<Self> {
        let open = match open {
            Some(schedule) => Some(Mutex::new((schedule, Timer::new()?))),
            None => None,
        };
        let begin = Instant::now();
        Ok(Self { begin, end: begin + time, units, open })
    }

    /// Waits until it is time to begin the next unit, and returns the moment that its latency
    /// counts from; `None` if there is no further unit. All units that were due within the period
    /// are begun, however late.
    pub(crate) async fn next(&self) -> Result<Option<Instant>> {
        let Some(open) = &self.open else {
            let now = Instant::now();
            return Ok((now < self.end && self.units.take()).then_some(now));
        };
        let mut open = open.lock().await;
        let (schedule, timer) = &mut *open;
        let due = self.begin + schedule.next();
        if due >= self.end || !self.units.take() {
            return Ok(None);
        }
        timer.until(due).await?;
        Ok(Some(due))
    }
}
