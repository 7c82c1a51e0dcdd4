//! Cooperative scheduling: how much one task may do before the others, and the ring, get their turn.
//!
//! Work is counted in bytes. A task has an allowance for each poll, and all tasks together have one
//! until the ring is driven. tokio drives the ring only when no task is ready: tokio-uring submits
//! its queue when the thread parks. A task that only wakes itself would keep the thread from
//! parking, and no other connection would hear of its socket. A task that yields therefore waits
//! until a no-op has passed through the ring, after every task that is ready.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Context, Poll, Waker},
};

use io_uring::opcode;
use tokio_uring::{OneshotOutputTransform, UnsubmittedOneshot};

/// What a task may do in one poll, in bytes.
const POLL_ALLOWANCE_BYTES: usize = 320 * 1024;
/// What all tasks together may do before the ring is driven, in bytes.
const ROUND_ALLOWANCE_BYTES: usize = 2 * 1024 * 1024;
/// What receiving leaves of it to sending. Otherwise a peer that always has more would keep back what
/// we have to send, on its own connection and on the next.
const SEND_RESERVE_BYTES: usize = 128 * 1024;
/// What a poll costs by itself, in bytes that are copied in the same time.
const POLL_COST_BYTES: usize = 4 * 1024;

thread_local! {
    /// What the task that runs may still do in this poll.
    static POLL_LEFT: Cell<usize> = const { Cell::new(POLL_ALLOWANCE_BYTES) };
    /// What all tasks may still do in this round.
    static ROUND_LEFT: Cell<usize> = const { Cell::new(ROUND_ALLOWANCE_BYTES) };
    /// Tasks that wait for the next round.
    static YIELDED: RefCell<Vec<Waker>> = const { RefCell::new(Vec::new()) };
}

/// Begins the poll of a task, which gets its allowance. Pending once this round's is spent.
pub(super) fn poll_begin(cx: &mut Context<'_>) -> Poll<()> {
    let left = ROUND_LEFT.get();
    if left == 0 {
        wait_for_next_round(cx);
        return Poll::Pending;
    }
    ROUND_LEFT.set(left.saturating_sub(POLL_COST_BYTES));
    refill();
    Poll::Ready(())
}

/// Gives the future that is polled now the allowance of one poll.
pub(super) fn refill() {
    POLL_LEFT.set(POLL_ALLOWANCE_BYTES);
}

/// What the running task may still do in this poll, in bytes.
#[cfg(test)]
pub(crate) fn allowance_left() -> usize {
    POLL_LEFT.get()
}

/// Counts work of the running task, in bytes.
pub(crate) fn spend(bytes: usize) {
    POLL_LEFT.set(POLL_LEFT.get().saturating_sub(bytes));
    ROUND_LEFT.set(ROUND_LEFT.get().saturating_sub(bytes));
}

/// Ready while the task that runs may receive. If it may not, the task is woken in the next round.
pub(super) fn poll_may_receive(cx: &mut Context<'_>) -> Poll<()> {
    poll_left_above(SEND_RESERVE_BYTES, cx)
}

/// Ready while the task that runs may send. If it may not, the task is woken in the next round.
pub(super) fn poll_may_send(cx: &mut Context<'_>) -> Poll<()> {
    poll_left_above(0, cx)
}

fn poll_left_above(reserve: usize, cx: &mut Context<'_>) -> Poll<()> {
    if POLL_LEFT.get() > reserve {
        return Poll::Ready(());
    }
    wait_for_next_round(cx);
    Poll::Pending
}

/// Lets every other task that is ready run first, and drives the ring.
pub(crate) async fn yield_now() {
    let mut has_yielded = false;
    poll_fn(|cx| {
        if has_yielded {
            return Poll::Ready(());
        }
        has_yielded = true;
        wait_for_next_round(cx);
        Poll::Pending
    })
    .await;
}

fn wait_for_next_round(cx: &mut Context<'_>) {
    let is_first = YIELDED.with_borrow_mut(|yielded| {
        let is_known = yielded.last().is_some_and(|last| last.will_wake(cx.waker()));
        if !is_known {
            yielded.push(cx.waker().clone());
        }
        yielded.len() == 1 && !is_known
    });
    if is_first {
        let round = Round;
        tokio_uring::spawn(async move {
            submit_no_op().await;
            drop(round);
        });
    }
}

async fn submit_no_op() {
    UnsubmittedOneshot::new((), NoOp, opcode::Nop::new().build()).submit().await;
}

struct NoOp;

impl OneshotOutputTransform for NoOp {
    type Output = ();
    type StoredData = ();

    fn transform_oneshot_output(self, (): (), _: io_uring::cqueue::Entry) {}
}

/// The round that runs. The next begins when this is dropped, also when the runtime ends.
struct Round;

impl Drop for Round {
    fn drop(&mut self) {
        // Taken first: a waker may run code that yields.
        let yielded = YIELDED.take();
        // Enough to poll each of them, or a crowd of tasks would wait again and again.
        let for_all = 2 * POLL_COST_BYTES * yielded.len();
        ROUND_LEFT.set(ROUND_ALLOWANCE_BYTES.max(for_all));
        for waker in yielded {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, os::unix::net::UnixStream, rc::Rc};

    use super::*;
    use crate::rt::{Buffer, Runtime, Stream, spawn};

    /// Fits into a socket's buffer.
    const IN_EACH_BYTES: usize = 96 * 1024;

    /// A stream with so many bytes to read, and its peer.
    fn filled() -> (Stream, UnixStream) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[7; IN_EACH_BYTES]).unwrap();
        (Stream::new(ours.into()), theirs)
    }

    #[test]
    fn a_task_that_always_finds_data_yields_within_its_allowance() {
        const STREAMS: usize = 10;
        const READ_BYTES: usize = 16 * 1024;
        let (received, most) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        Runtime::new().unwrap().block_on(async {
            let (mut streams, _peers): (Vec<_>, Vec<_>) = (0..STREAMS).map(|_| filled()).unzip();
            for stream in &mut streams {
                poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
            }
            let (count, most_in_a_poll) = (Rc::clone(&received), Rc::clone(&most));
            spawn(poll_fn(move |cx| {
                let before = count.get();
                for stream in &mut streams {
                    let mut buffer = Buffer::default();
                    while let Poll::Ready(Ok(n)) = stream.poll_recv(cx, &mut buffer, READ_BYTES) {
                        count.set(count.get() + n);
                        buffer.consume(n);
                    }
                }
                most_in_a_poll.set(most_in_a_poll.get().max(count.get() - before));
                if count.get() < STREAMS * IN_EACH_BYTES { Poll::Pending } else { Poll::Ready(()) }
            }));
            while received.get() < STREAMS * IN_EACH_BYTES {
                yield_now().await;
            }
        });
        assert!(most.get() <= POLL_ALLOWANCE_BYTES + READ_BYTES, "{} in one poll", most.get());
    }

    #[test]
    fn a_task_that_always_finds_data_can_still_send() {
        const READ_BYTES: usize = 16 * 1024;
        Runtime::new().unwrap().block_on(async {
            let (mut streams, _peers): (Vec<_>, Vec<_>) = (0..4).map(|_| filled()).unzip();
            for stream in &mut streams {
                poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
            }
            let (mut answering, _peer) = filled();
            answering.outgoing().extend_from_slice(b"answer");
            let sent = poll_fn(|cx| {
                for stream in &mut streams {
                    let mut buffer = Buffer::default();
                    while let Poll::Ready(Ok(n)) = stream.poll_recv(cx, &mut buffer, READ_BYTES) {
                        buffer.consume(n);
                    }
                }
                assert!(poll_may_receive(cx).is_pending());
                Poll::Ready(answering.poll_flush(cx))
            });
            assert!(matches!(sent.await, Poll::Ready(Ok(()))));
        });
    }

    /// Waits for a socket in a task of its own, and tells when the ring has said that it is ready.
    fn wait_for_the_ring() -> (Rc<Cell<bool>>, UnixStream) {
        let (mut stream, peer) = filled();
        let told = Rc::new(Cell::new(false));
        let tell = Rc::clone(&told);
        spawn(async move {
            poll_fn(|cx| stream.poll_readable(cx)).await.unwrap();
            tell.set(true);
        });
        (told, peer)
    }

    #[test]
    fn a_task_that_yields_all_the_time_does_not_starve_the_ring() {
        Runtime::new().unwrap().block_on(async {
            let (told, _peer) = wait_for_the_ring();
            for _ in 0..10 {
                yield_now().await;
            }
            assert!(told.get());
        });
    }

    #[test]
    fn a_task_that_always_wakes_itself_does_not_starve_the_ring() {
        const POLLS: usize = 4 * ROUND_ALLOWANCE_BYTES / POLL_COST_BYTES;
        Runtime::new().unwrap().block_on(async {
            let (told, _peer) = wait_for_the_ring();
            let (done, is_done) = tokio::sync::oneshot::channel();
            let (mut polls, mut done) = (0, Some(done));
            spawn(poll_fn(move |cx| {
                polls += 1;
                if polls < POLLS && !told.get() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                done.take().map_or(Poll::Pending, |done| Poll::Ready(done.send(told.get())))
            }));
            assert!(is_done.await.unwrap(), "the ring was not driven in {POLLS} polls");
        });
    }

    #[test]
    fn a_runtime_that_ends_in_a_round_leaves_no_state() {
        for _ in 0..2 {
            let runtime = Runtime::new().unwrap();
            runtime.block_on(async {
                spawn(yield_now());
                tokio::task::yield_now().await;
            });
            drop(runtime);
            YIELDED.with_borrow(|yielded| assert!(yielded.is_empty()));
            Runtime::new().unwrap().block_on(yield_now());
        }
    }
}
