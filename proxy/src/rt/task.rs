//! Tasks of a thread, counted.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::coop;

thread_local! {
    static RUNNING: Cell<usize> = const { Cell::new(0) };
}

/// How many tasks of this thread have not ended.
pub(crate) fn tasks() -> usize {
    RUNNING.get()
}

pin_project_lite::pin_project! {
    /// A task's future, counted for as long as it lives, with an allowance for each poll. It is no
    /// `async` block: that would keep room for the future twice, as captured and as awaited.
    pub(super) struct Task<F> {
        #[pin]
        future: F,
        running: Running,
    }
}

impl<F> Task<F> {
    pub(super) fn new(future: F) -> Task<F> {
        Task { future, running: Running::new() }
    }
}

impl<F: Future> Future for Task<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        ready!(coop::poll_begin(cx));
        self.project().future.poll(cx).map(drop)
    }
}

/// One in the count.
struct Running;

impl Running {
    fn new() -> Running {
        RUNNING.set(RUNNING.get() + 1);
        Running
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.set(RUNNING.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::rt::{Runtime, spawn, yield_now};

    #[test]
    fn tasks_are_counted_until_they_end_or_panic() {
        let runtime = Runtime::new().unwrap();
        runtime.block_on(async {
            spawn(pending::<()>());
            spawn(ready(()));
            spawn(async { panic!("a task may panic") });
            assert_eq!(tasks(), 3);
            yield_now().await;
            assert_eq!(tasks(), 1);
        });
        drop(runtime);
        assert_eq!(tasks(), 0);
    }

    #[test]
    fn counting_takes_no_room() {
        let future = async { pending::<[u8; 100]>().await };
        assert_eq!(size_of_val(&future), size_of_val(&Task::new(future)));
    }
}
