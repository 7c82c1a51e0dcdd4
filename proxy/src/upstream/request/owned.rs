//! Requests of clients that own connections.

use std::{rc::Rc, time::Instant};

use ::http::{Request, header::CONTENT_TYPE};

use super::{FailedAttempt, LeasedResponse, UpstreamRequest, copy_to_repeat};
use crate::{
    observe::UpstreamRetry,
    upstream::{Protocol, body::SentBody, endpoint_pool::PooledConnection, owner::Owner},
};

impl UpstreamRequest<'_> {
    /// Sends it over a connection that the client owns, if there is one. Otherwise a request that
    /// authenticates its connection makes the client the owner of one, and another request goes over a
    /// connection that all clients share.
    pub(super) async fn forward_for_owner(
        &self,
        mut request: Request<SentBody>,
        authenticates: bool,
    ) -> Result<LeasedResponse, Box<FailedAttempt>> {
        let owner = match self.client.get() {
            Some(owner) if !authenticates => Rc::clone(owner),
            _ => Rc::clone(self.client.at(self.pool)),
        };
        let mut was_sent = false;
        if let Some(idle) = self.idle_for(&owner, authenticates) {
            self.pool.meter.sent_over_pooled();
            let copy = copy_to_repeat(&request);
            match self.send_over(idle, Some(&owner), request).await {
                Ok(response) => return Ok(response),
                Err(failed) => request = failed.repeatable(copy, &mut was_sent)?,
            }
            self.pool.meter.retrying(UpstreamRetry::StaleConnection);
        }
        if !authenticates {
            return self.forward(request, was_sent).await;
        }
        match self.new_owned_connection(self.is_for_http1(&request)).await {
            Ok(fresh) => {
                let sent = self.send_over(fresh, Some(&owner), request).await;
                sent.map_err(|failed| Box::new(failed.after(was_sent)))
            }
            Err(failed) => Err(failed.after(request, was_sent)),
        }
    }

    fn idle_for(&self, owner: &Owner, authenticates: bool) -> Option<PooledConnection> {
        let now = Instant::now();
        let owned = self.pool.take_owned(owner, now);
        owned.or_else(|| authenticates.then(|| self.pool.take_to_own(now)).flatten())
    }

    /// HTTP/2 has no authentication of connections, and servers that want it there ask for HTTP/1.1. It
    /// is spoken only where there is nothing else: then a connection carries one request.
    fn is_for_http1(&self, request: &Request<SentBody>) -> bool {
        let kind = request.headers().get(CONTENT_TYPE);
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        self.endpoint.spec.protocol != Protocol::Http2PriorKnowledge && !is_grpc
    }
}
