//! One HTTP connection to an endpoint, for checks.

use std::{
    cell::RefCell,
    convert::Infallible,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{
    body::Incoming,
    client::conn::{http1, http2},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use super::{
    spec::CheckHttpVersion,
    stream::{AnswerAllowance, CheckStream, MAX_ANSWER_BYTES},
};

/// One HTTP connection to an endpoint. Dropping it ends it, whatever its peer does.
pub(super) struct HttpConnection {
    sender: Sender,
    allowance: AnswerAllowance,
    tasks: Rc<RefCell<JoinSet<()>>>,
}

enum Sender {
    Http1(http1::SendRequest<CheckBody>),
    Http2(http2::SendRequest<CheckBody>),
}

impl HttpConnection {
    /// Speaks HTTP over a connected stream. Needs a `LocalSet`.
    pub(super) async fn new(
        stream: CheckStream,
        allowance: AnswerAllowance,
        version: CheckHttpVersion,
    ) -> hyper::Result<HttpConnection> {
        let io = TokioIo::new(stream);
        let tasks = Rc::new(RefCell::new(JoinSet::new()));
        let sender = match version {
            CheckHttpVersion::Http1 => {
                let mut builder = http1::Builder::new();
                builder.max_buf_size(MAX_ANSWER_BYTES);
                let (sender, connection) = builder.handshake(io).await?;
                tasks.borrow_mut().spawn_local(async move {
                    // The request has the error.
                    let _ = connection.await;
                });
                Sender::Http1(sender)
            }
            CheckHttpVersion::Http2 => {
                let executor = LocalTasks(Rc::downgrade(&tasks));
                let mut builder = http2::Builder::new(executor);
                // No more can come than a check reads.
                builder
                    .initial_stream_window_size(Some(MAX_ANSWER_BYTES as u32))
                    .max_header_list_size(MAX_ANSWER_BYTES as u32);
                let (sender, connection) = builder.handshake(io).await?;
                tasks.borrow_mut().spawn_local(async move {
                    let _ = connection.await;
                });
                Sender::Http2(sender)
            }
        };
        Ok(HttpConnection { sender, allowance, tasks })
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<CheckBody>,
    ) -> hyper::Result<Response<Incoming>> {
        self.allowance.renew();
        // Tasks of former requests.
        while self.tasks.borrow_mut().try_join_next().is_some() {}
        match &mut self.sender {
            Sender::Http1(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
            Sender::Http2(sender) => {
                sender.ready().await?;
                sender.send_request(request).await
            }
        }
    }

    /// Whether it may serve another check, as far as is known.
    pub(super) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => !sender.is_closed(),
            Sender::Http2(sender) => !sender.is_closed(),
        }
    }
}

/// Spawns hyper's tasks beside the connection's own; none once the connection is dropped.
#[derive(Clone)]
struct LocalTasks(Weak<RefCell<JoinSet<()>>>);

impl<F: Future<Output = ()> + 'static> Executor<F> for LocalTasks {
    fn execute(&self, future: F) {
        if let Some(tasks) = self.0.upgrade() {
            tasks.borrow_mut().spawn_local(future);
        }
    }
}

/// The body of a check's request.
pub(super) struct CheckBody(Option<Bytes>);

impl CheckBody {
    pub(super) fn new(bytes: Bytes) -> CheckBody {
        CheckBody(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl Body for CheckBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
