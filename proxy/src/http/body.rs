//! Response bodies.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{exchange::Exchange, timeouts::Limit};
use crate::upstream::{ResponseBody, with_causes};

/// A response's body, on its way to the client. It holds the request's record, which is made when
/// the body has been sent or is dropped.
#[derive(Debug)]
pub struct Body {
    kind: Kind,
    exchange: Option<Box<Exchange>>,
}

#[derive(Debug)]
enum Kind {
    /// Nothing, or nothing any more.
    Empty,
    /// Ours.
    Full(Bytes),
    /// The upstream's.
    Relay(ResponseBody),
}

/// Why a response ended early: the client must see that it did.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The upstream's body failed.
    #[error("the upstream's response broke off: {0}")]
    Upstream(#[source] Box<dyn Error + Send + Sync>),
    /// It took too long.
    #[error("the response took too long")]
    Timeout,
}

impl Body {
    /// None; for a request whose record is made elsewhere.
    pub(super) fn none() -> Body {
        Body { kind: Kind::Empty, exchange: None }
    }

    /// One of ours.
    pub(super) fn full(bytes: Bytes, exchange: Box<Exchange>) -> Body {
        let kind = if bytes.is_empty() { Kind::Empty } else { Kind::Full(bytes) };
        Body { kind, exchange: Some(exchange) }
    }

    /// An upstream's.
    pub(super) fn relay(body: ResponseBody, mut exchange: Box<Exchange>) -> Body {
        exchange.timeouts.responding();
        exchange.gave_data(Instant::now());
        Body { kind: Kind::Relay(body), exchange: Some(exchange) }
    }

    /// Whether nothing is left to send. With a length known beforehand hyper asks for no more once
    /// it has that much.
    fn is_complete(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Relay(body) => {
                http_body::Body::is_end_stream(body)
                    || http_body::Body::size_hint(body).exact() == Some(0)
            }
        }
    }

    fn poll_relay(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (Kind::Relay(body), Some(exchange)) = (&mut self.kind, &mut self.exchange) else {
            return Poll::Ready(None);
        };
        let now = Instant::now();
        exchange.asked_for_data(now);
        // First, since an upstream that always has more would never let them be looked at.
        if let Some(limit) = exchange.timeouts.reached(now) {
            return Poll::Ready(Some(Err(self.fail_by(limit))));
        }
        let Poll::Ready(frame) = http_body::Body::poll_frame(Pin::new(body), cx) else {
            return exchange.timeouts.poll(cx).map(|limit| Some(Err(self.fail_by(limit))));
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                exchange.timeouts.progress();
                exchange.gave_data(now);
                exchange.add_sent(frame.data_ref().map_or(0, |data| data.len() as u64));
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let details =
                    format!("upstream_reset_after_response_started{{{}}}", with_causes(&error));
                exchange.conclude(details.into(), "UC");
                Some(Err(self.fail(BodyError::Upstream(error.into()))))
            }
            None => {
                self.finish();
                None
            }
        })
    }

    fn fail_by(&mut self, limit: Limit) -> BodyError {
        let (details, flags) = match limit {
            Limit::Response | Limit::Request => ("upstream_response_timeout", "UT"),
            Limit::Stream => ("max_duration_timeout", "DT"),
            Limit::Idle => ("stream_idle_timeout", "SI"),
        };
        if let Some(exchange) = &mut self.exchange {
            exchange.conclude(details.into(), flags);
        }
        self.fail(BodyError::Timeout)
    }

    /// Lets go of the upstream's connection and makes the record.
    fn fail(&mut self, error: BodyError) -> BodyError {
        self.finish();
        error
    }

    fn finish(&mut self) {
        self.kind = Kind::Empty;
        self.exchange = None;
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.kind {
            Kind::Relay(_) => this.poll_relay(cx),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                if let Some(exchange) = &mut this.exchange {
                    exchange.add_sent(bytes.len() as u64);
                }
                this.finish();
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Empty => {
                this.finish();
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Full(bytes) => bytes.is_empty(),
            Kind::Relay(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Relay(body) => body.size_hint(),
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.is_complete()
            && let Some(exchange) = &mut self.exchange
        {
            exchange.abandoned();
        }
    }
}
