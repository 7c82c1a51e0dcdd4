//! A timer with the kernel's precision: tokio counts in milliseconds, many times a latency here.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::{Interest, unix::AsyncFd};

/// Waits for one moment at a time.
#[derive(Debug)]
pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    /// Makes a timer on this thread's runtime.
    #[expect(deprecated, reason = "an OwnedFd is always the same descriptor, which is the concern")]
    pub(crate) fn new() -> Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    /// Waits until the moment; returns at once if it has passed.
    pub(crate) async fn until(&self, moment: Instant) -> Result<()> {
        loop {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            // This discards an earlier expiration, so that no read is needed.
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once_after(left))?;
            self.0.readable().await?.clear_ready();
        }
    }
}

fn once_after(time: Duration) -> Itimerspec {
    let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
    let it_value = Timespec::try_from(time).unwrap_or(zero);
    Itimerspec { it_interval: zero, it_value }
}
