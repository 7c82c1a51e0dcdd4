//! Interim responses (RFC 9110 section 15.2) on their way from an upstream's connection to the request.

use std::{
    future::poll_fn,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use ::http::{Request, Response, StatusCode};
use hyper::ext::on_informational;

use super::{FailureKind, UpstreamError};

/// The most interim responses to one request. An upstream that sends more is broken.
const MOST_INTERIM_RESPONSES: usize = 32;

/// The interim responses to one request, over HTTP/1. h2 has them too (`poll_informational`), but hyper's
/// client keeps the stream to itself, and drops them.
///
/// hyper hands them over on the task of the upstream's connection, the request takes them on its own.
/// Both run on one thread, so the lock never waits.
#[derive(Debug, Clone, Default)]
pub(crate) struct InterimResponses(Arc<Mutex<Arrivals>>);

#[derive(Debug, Default)]
struct Arrivals {
    count: usize,
    waiting: Vec<Response<()>>,
    waker: Option<Waker>,
}

impl InterimResponses {
    /// The interim responses that have come since the last call. To be called when the request has to
    /// wait: its task is woken when another one comes.
    pub(crate) fn poll_take(&self, cx: &mut Context<'_>) -> Vec<Response<()>> {
        let mut arrivals = self.lock();
        match &mut arrivals.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            waker => *waker = Some(cx.waker().clone()),
        }
        mem::take(&mut arrivals.waiting)
    }

    /// The same, behind the final response: no other one comes.
    pub(crate) fn take(&self) -> Vec<Response<()>> {
        mem::take(&mut self.lock().waiting)
    }

    /// Waits for a response, but not beyond the most interim responses.
    pub(super) async fn limit<T, E: From<UpstreamError>>(
        &self,
        mut running: Pin<&mut impl Future<Output = Result<T, E>>>,
    ) -> Result<T, E> {
        poll_fn(|cx| match running.as_mut().poll(cx) {
            _ if self.are_too_many() => {
                let detail = format!("more than {MOST_INTERIM_RESPONSES} interim responses");
                Poll::Ready(Err(UpstreamError { kind: FailureKind::Protocol, detail }.into()))
            }
            polled => polled,
        })
        .await
    }

    fn are_too_many(&self) -> bool {
        self.lock().count > MOST_INTERIM_RESPONSES
    }

    /// Receives the interim responses to a request that is sent over HTTP/1.
    pub(super) fn receive<B>(&self, request: &mut Request<B>) {
        let arrivals = self.clone();
        on_informational(request, move |response| {
            arrivals.arrive(response.status(), response.headers());
        });
    }

    fn arrive(&self, status: StatusCode, headers: &::http::HeaderMap) {
        // The client's `Expect` stays with us, so a 100 answers nothing.
        let is_wanted = status != StatusCode::CONTINUE;
        let mut arrivals = self.lock();
        arrivals.count += 1;
        if is_wanted && arrivals.count <= MOST_INTERIM_RESPONSES {
            let mut response = Response::new(());
            *response.status_mut() = status;
            response.headers_mut().clone_from(headers);
            arrivals.waiting.push(response);
        }
        if let Some(waker) = arrivals.waker.take() {
            waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use ::http::HeaderMap;

    use super::*;

    fn take(interim: &InterimResponses) -> Vec<StatusCode> {
        let taken = interim.poll_take(&mut Context::from_waker(Waker::noop()));
        taken.iter().map(Response::status).collect()
    }

    #[test]
    fn interim_responses_are_taken_once_and_in_order() {
        let interim = InterimResponses::default();
        assert!(take(&interim).is_empty());
        for status in [StatusCode::PROCESSING, StatusCode::EARLY_HINTS] {
            interim.arrive(status, &HeaderMap::new());
        }
        assert_eq!(take(&interim), [StatusCode::PROCESSING, StatusCode::EARLY_HINTS]);
        assert!(take(&interim).is_empty());
    }

    #[test]
    fn a_100_of_the_upstream_goes_no_further() {
        let interim = InterimResponses::default();
        interim.arrive(StatusCode::CONTINUE, &HeaderMap::new());
        assert!(take(&interim).is_empty());
    }

    #[test]
    fn more_than_32_for_one_request_end_it() {
        for status in [StatusCode::CONTINUE, StatusCode::EARLY_HINTS] {
            let interim = InterimResponses::default();
            let ended = || {
                let mut waiting = Box::pin(future::pending::<Result<(), UpstreamError>>());
                let limited = interim.limit(waiting.as_mut());
                let polled =
                    Box::pin(limited).as_mut().poll(&mut Context::from_waker(Waker::noop()));
                matches!(polled, Poll::Ready(Err(error)) if error.kind == FailureKind::Protocol)
            };
            for _ in 0..MOST_INTERIM_RESPONSES {
                interim.arrive(status, &HeaderMap::new());
            }
            assert!(!ended(), "{status}");
            interim.arrive(status, &HeaderMap::new());
            assert!(ended(), "{status}");
            assert!(take(&interim).len() <= MOST_INTERIM_RESPONSES);
        }
    }
}
