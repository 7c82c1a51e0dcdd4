//! Response bodies.

use std::{
    error::Error,
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::{
    active_request::ActiveRequest,
    headers,
    limit::Limit,
    response_data::{ResponseData, UnsentData},
};
use crate::upstream::{ResponseBody, with_causes};

/// A response's body on its way to the client. It holds the request, whose record is made when the
/// body has been sent or is dropped.
#[derive(Debug)]
pub(crate) struct Body {
    content: BodyContent,
    /// Whether the trailers were given to hyper, which does not ask for what follows them.
    has_given_trailers: bool,
    /// The pieces for which the client's windows may not be large enough.
    unsent: Option<Rc<UnsentData>>,
    active: Option<Box<ActiveRequest>>,
}

#[derive(Debug)]
enum BodyContent {
    /// Nothing (left).
    Empty,
    /// Ours.
    Full(Bytes),
    /// The upstream's.
    Relay(ResponseBody),
    /// Its end, with the trailers, which waits until h2 has sent the last piece.
    Ended(Option<Box<HeaderMap>>),
}

/// Why a response ended early. The client must be able to see that it did.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The upstream's body failed.
    #[error("the upstream's response ended early: {0}")]
    Upstream(#[source] Box<dyn Error + Send + Sync>),
    /// It took too long.
    #[error("the response took too long")]
    Timeout,
}

impl Body {
    /// An empty body, for a request whose record is made elsewhere.
    pub(super) fn none() -> Body {
        Body::new(BodyContent::Empty, None)
    }

    /// One of ours.
    pub(super) fn full(bytes: Bytes, active: Box<ActiveRequest>) -> Body {
        let content = if bytes.is_empty() { BodyContent::Empty } else { BodyContent::Full(bytes) };
        Body::new(content, Some(active))
    }

    /// An upstream's.
    pub(super) fn relay(body: ResponseBody, mut active: Box<ActiveRequest>) -> Body {
        active.timeouts.responding();
        active.gave_data(Instant::now());
        Body::new(BodyContent::Relay(body), Some(active))
    }

    fn new(content: BodyContent, active: Option<Box<ActiveRequest>>) -> Body {
        Body { content, has_given_trailers: false, unsent: None, active }
    }

    /// Whether nothing is left to send. hyper stops asking once it has as many bytes as the known
    /// length.
    fn is_complete(&self) -> bool {
        match &self.content {
            _ if self.is_held() => false,
            BodyContent::Empty | BodyContent::Ended(_) => true,
            BodyContent::Full(bytes) => bytes.is_empty(),
            BodyContent::Relay(body) => {
                self.has_given_trailers
                    || http_body::Body::is_end_stream(body)
                    || http_body::Body::size_hint(body).exact() == Some(0)
            }
        }
    }

    /// Whether h2 has a piece that waits for the client. If the response ended now, no clock would run for
    /// that piece: hyper leaves a stream alone once h2 has its end.
    fn is_held(&self) -> bool {
        self.unsent.as_ref().is_some_and(|unsent| !unsent.is_gone())
    }

    /// A piece for hyper, which has it from now on.
    fn give(&mut self, bytes: Bytes) -> ResponseData {
        let Some(active) = &mut self.active else { return bytes.into() };
        let sent = active.account.add_sent(bytes.len() as u64);
        let Some(windows) = &active.windows else { return bytes.into() };
        if windows.give(bytes.len(), sent) {
            self.unsent = None;
            return ResponseData::certain(bytes, windows);
        }
        let unsent = self.unsent.get_or_insert_with(|| {
            let unsent = UnsentData::new(windows);
            active.account.flow().waits(&unsent);
            unsent
        });
        ResponseData::waiting(bytes, unsent)
    }

    /// The end of the response, once everything before it is sent.
    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        trailers: Option<Box<HeaderMap>>,
    ) -> Poll<Option<Result<Frame<ResponseData>, BodyError>>> {
        if let Some(unsent) = &self.unsent
            && unsent.poll_gone(cx).is_pending()
        {
            if let (BodyContent::Relay(_), Some(active)) = (&self.content, &self.active) {
                active.gave_data(Instant::now());
            }
            self.content = BodyContent::Ended(trailers);
            return Poll::Pending;
        }
        self.finish();
        Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(*trailers))))
    }

    fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ResponseData>, BodyError>>> {
        let (BodyContent::Relay(body), Some(active)) = (&mut self.content, &mut self.active) else {
            return Poll::Ready(None);
        };
        let now = Instant::now();
        active.account.flow().moves();
        // Checked first: behind an upstream that always has more they would never be reached.
        if let Some(limit) = active.timeouts.reached(now) {
            return Poll::Ready(Some(Err(self.fail_by(limit))));
        }
        let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(body), cx) else {
            return active.timeouts.poll(cx).map(|limit| Some(Err(self.fail_by(limit))));
        };
        match frame {
            Some(Ok(mut frame)) => {
                active.timeouts.progress();
                active.gave_data(now);
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_response_trailers(trailers, active.response_headers());
                    if self.is_held() {
                        let trailers = mem::take(trailers);
                        return self.poll_end(cx, Some(Box::new(trailers)));
                    }
                    self.has_given_trailers = true;
                }
                Poll::Ready(Some(Ok(frame.map_data(|bytes| self.give(bytes)))))
            }
            Some(Err(error)) => {
                let details =
                    format!("upstream_reset_after_response_started{{{}}}", with_causes(&error));
                active.account.conclude(details.into(), "UC");
                Poll::Ready(Some(Err(self.fail(BodyError::Upstream(error.into())))))
            }
            None => self.poll_end(cx, None),
        }
    }

    fn fail_by(&mut self, limit: Limit) -> BodyError {
        if let Some(active) = &mut self.active {
            conclude_by(active, limit);
        }
        self.fail(BodyError::Timeout)
    }

    /// Drops the upstream's connection and makes the record.
    fn fail(&mut self, error: BodyError) -> BodyError {
        self.finish();
        error
    }

    fn finish(&mut self) {
        self.content = BodyContent::Empty;
        self.active = None;
    }
}

/// Notes the limit that ended the response.
fn conclude_by(active: &mut ActiveRequest, limit: Limit) {
    let (details, flags) = match limit {
        Limit::Response | Limit::Request => ("upstream_response_timeout", "UT"),
        Limit::Stream => ("max_duration_timeout", "DT"),
        Limit::Idle => ("stream_idle_timeout", "SI"),
        Limit::Unread => ("downstream_write_timeout", "SI"),
    };
    active.account.conclude(details.into(), flags);
}

impl http_body::Body for Body {
    type Data = ResponseData;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<ResponseData>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.content {
            BodyContent::Relay(_) => this.poll_relay(cx),
            BodyContent::Full(bytes) => {
                let bytes = mem::take(bytes);
                this.content = BodyContent::Empty;
                if let Some(active) = &this.active {
                    // The route's limits were about the upstream.
                    active.account.flow().gave(Instant::now(), None);
                }
                Poll::Ready(Some(Ok(Frame::data(this.give(bytes)))))
            }
            BodyContent::Empty => this.poll_end(cx, None),
            BodyContent::Ended(trailers) => {
                let trailers = trailers.take();
                this.poll_end(cx, trailers)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            _ if self.is_held() => false,
            BodyContent::Empty => true,
            BodyContent::Ended(trailers) => trailers.is_none(),
            BodyContent::Full(bytes) => bytes.is_empty(),
            BodyContent::Relay(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            BodyContent::Empty | BodyContent::Ended(_) => SizeHint::with_exact(0),
            BodyContent::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            BodyContent::Relay(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let is_complete = self.is_complete();
        let Some(active) = &mut self.active else { return };
        active.account.flow().moves();
        if let Some(limit) = active.account.flow().take_cut_off() {
            conclude_by(active, limit);
        } else if !is_complete {
            active.account.set_abandoned();
        }
    }
}
