//! The order to end the thread of the catchers, which interrupts whatever it waits for.

use std::{
    io,
    os::fd::OwnedFd,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::retry_on_intr,
};

/// An order that is given once.
#[derive(Debug)]
pub(super) struct StopOrder {
    is_given: AtomicBool,
    /// Readable once the order is given.
    event: OwnedFd,
}

impl StopOrder {
    /// Fails if the process has no descriptor left.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { is_given: AtomicBool::new(false), event: eventfd(0, EventfdFlags::CLOEXEC)? })
    }

    pub(super) fn give(&self) {
        self.is_given.store(true, Relaxed);
        // It fails only if the counter is full, which is readable too.
        let _ = rustix::io::write(&self.event, &1_u64.to_ne_bytes());
    }

    pub(super) fn is_given(&self) -> bool {
        self.is_given.load(Relaxed)
    }

    /// Waits until one of these has an event, or until the time is over. Returns which of them have
    /// one.
    ///
    /// # Errors
    /// `Interrupted` if the order is given.
    pub(super) fn poll<'w>(
        &'w self,
        waiting: impl IntoIterator<Item = PollFd<'w>>,
        limit: Duration,
    ) -> io::Result<Vec<bool>> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut polled = vec![PollFd::new(&self.event, PollFlags::IN)];
        polled.extend(waiting);
        retry_on_intr(|| poll(&mut polled, Some(&limit)))?;
        if self.is_given() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(polled.iter().skip(1).map(|fd| !fd.revents().is_empty()).collect())
    }

    /// Waits for the order, for this time.
    pub(super) fn wait(&self, limit: Duration) {
        let _ = self.poll([], limit);
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    const FOR_EVER: Duration = Duration::from_secs(600);

    #[test]
    fn an_order_ends_every_wait_from_then_on() {
        let stop = StopOrder::new().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| stop.give());
            stop.wait(FOR_EVER);
        });
        let of_nothing = [PollFd::new(&silent, PollFlags::IN)];
        let error = stop.poll(of_nothing, FOR_EVER).unwrap_err();
        assert_eq!((error.kind(), stop.is_given()), (io::ErrorKind::Interrupted, true));
    }

    #[test]
    fn what_has_an_event_is_told_and_a_limit_is_no_error() {
        let stop = StopOrder::new().unwrap();
        let (silent, ready) =
            (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let _client = std::net::TcpStream::connect(ready.local_addr().unwrap()).unwrap();
        let both = || [&silent, &ready].map(|socket| PollFd::new(socket, PollFlags::IN));
        assert_eq!(stop.poll(both(), FOR_EVER).unwrap(), [false, true]);
        let one = [PollFd::new(&silent, PollFlags::IN)];
        assert_eq!(stop.poll(one, Duration::ZERO).unwrap(), [false]);
    }
}
