//! The tasks of an HTTP/2 connection's streams.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use hyper::rt::Executor;

use super::{activity::Activity, read_deadline::ReadDeadline};
use crate::{http::ClientConnection, rt};

/// Spawns the tasks that hyper makes for the streams of one connection.
#[derive(Clone)]
pub(super) struct StreamExecutor {
    client: Rc<ClientConnection>,
    activity: Rc<Activity>,
}

impl StreamExecutor {
    pub(super) fn new(client: &Rc<ClientConnection>, activity: &Rc<Activity>) -> StreamExecutor {
        StreamExecutor { client: Rc::clone(client), activity: Rc::clone(activity) }
    }
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + 'static,
{
    fn execute(&self, future: F) {
        let executor = self.clone();
        let task = StreamTask { future: Some(future), executor, deadline: ReadDeadline::default() };
        // Boxed: a task moves its future when it begins and when it ends.
        rt::spawn(Box::pin(task));
    }
}

pin_project_lite::pin_project! {
    /// A stream, which ends if its client does not read: h2 resets a stream that is dropped.
    struct StreamTask<F> {
        #[pin]
        future: Option<F>,
        executor: StreamExecutor,
        deadline: ReadDeadline,
    }
}

impl<F: Future<Output = ()>> Future for StreamTask<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let StreamExecutor { client, activity } = this.executor;
        let flow = &client.state.flow;
        flow.begin_poll();
        let polled = this.future.as_mut().as_pin_mut().map(|future| future.poll(cx));
        if let Some(Poll::Pending) = polled
            && this.deadline.poll_expired(cx, flow, activity).is_pending()
        {
            return Poll::Pending;
        }
        this.future.set(None);
        Poll::Ready(())
    }
}
