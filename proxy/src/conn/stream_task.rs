//! The tasks of an HTTP/2 connection's streams.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::Executor;

use super::read_deadline::ReadDeadline;
use crate::{http::ClientConnection, rt};

/// Spawns the tasks that hyper makes for the streams of one connection.
#[derive(Clone)]
pub(super) struct StreamExecutor(Rc<ClientConnection>);

impl StreamExecutor {
    pub(super) fn new(client: &Rc<ClientConnection>) -> StreamExecutor {
        StreamExecutor(Rc::clone(client))
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let client = Rc::clone(&self.0);
        let task = StreamTask { future: Some(future), client, deadline: ReadDeadline::default() };
        // Boxed: a task moves its future when it begins and when it ends.
        rt::spawn(Box::pin(task));
    }
}

pin_project_lite::pin_project! {
    /// A stream, which ends if its client does not read: h2 resets a stream that is dropped.
    struct StreamTask<F> {
        #[pin]
        future: Option<F>,
        client: Rc<ClientConnection>,
        deadline: ReadDeadline,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let flow = &this.client.state.flow;
        flow.begin_poll();
        let polled = this.future.as_mut().as_pin_mut().map(|future| future.poll(cx));
        if let Some(Poll::Pending) = polled
            && this.deadline.poll_expired(cx, flow).is_pending()
        {
            return Poll::Pending;
        }
        this.future.set(None);
        Poll::Ready(())
    }
}
