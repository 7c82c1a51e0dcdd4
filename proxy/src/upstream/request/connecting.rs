//! How a request gets a new connection.

use std::{
    cell::RefCell,
    num::NonZeroU32,
    time::{Duration, Instant},
};

use ::http::Request;

use super::{FailedAttempt, UpstreamRequest};
use crate::{
    observe::CircuitLimit,
    rt,
    upstream::{
        ConnectOptions, FailureKind, UpstreamError,
        body::SentBody,
        connect::{Attempt, Connected},
        connection_share::{ConnectionPermit, NoRoom, Room, WantedConnection},
        endpoint_pool::PooledConnection,
        handshake,
        retry::attempt_limit,
    },
};

/// No connection, and the time that this took.
#[derive(Debug)]
pub(super) struct ConnectFailure {
    error: UpstreamError,
    spent: Duration,
}

impl ConnectFailure {
    /// The failure of a request of which nothing was sent.
    pub(super) fn with(self, request: Request<SentBody>) -> Box<FailedAttempt> {
        let ConnectFailure { error, spent } = self;
        Box::new(FailedAttempt { unsent: Some(request), spent, ..error.into() })
    }

    /// The failure of a request of which nothing was sent this time.
    pub(super) fn after(self, request: Request<SentBody>, was_sent: bool) -> Box<FailedAttempt> {
        Box::new(self.with(request).after(was_sent))
    }
}

impl UpstreamRequest<'_> {
    /// A new connection, established by this request or by another one that shares it.
    pub(super) async fn new_connection(&self) -> Result<PooledConnection, ConnectFailure> {
        self.measured(async |limit| self.shared_or_new(limit).await).await
    }

    /// A new connection, which nothing but this client's requests will use.
    pub(super) async fn new_owned_connection(
        &self,
        http1_only: bool,
    ) -> Result<PooledConnection, ConnectFailure> {
        self.measured(async |limit| {
            let permit = self.permit().await?;
            self.connect(limit, http1_only, async |attempt| {
                let connected = attempt.run(permit).await?;
                self.speak(connected, true).await
            })
            .await
        })
        .await
    }

    /// A new connection that does not carry HTTP yet.
    pub(super) async fn new_transport(
        &self,
        http1_only: bool,
    ) -> Result<Connected, ConnectFailure> {
        self.measured(async |limit| {
            let permit = self.permit().await?;
            self.connect(limit, http1_only, async |attempt| attempt.run(permit).await).await
        })
        .await
    }

    async fn shared_or_new(&self, mut limit: Duration) -> Result<PooledConnection, UpstreamError> {
        let mut permit = None;
        loop {
            let begun = Instant::now();
            let turn = rt::timeout(limit, self.pool.wait_for_turn(self.endpoint)).await;
            let turn = turn
                .map_err(|_| self.timed_out(limit, "waiting for another request's connection"))?;
            if let Some(shared) = self.pool.join(self.endpoint, Instant::now()) {
                self.pool.meter.sent_over_pooled();
                return Ok(shared);
            }
            // Waiting for room is no fault of the endpoint, and does not keep others from their turn.
            limit = limit.saturating_sub(begun.elapsed());
            let allowed = permit.take().map_or_else(|| self.pool.share.permit(self.wanted()), Ok);
            let reason = match allowed {
                Ok(permit) => return self.establish(limit, permit).await,
                Err(reason) => reason,
            };
            drop(turn);
            match self.room(reason).await? {
                Room::Permit(free) => permit = Some(free),
                Room::Pooled(pooled) => {
                    self.pool.meter.sent_over_pooled();
                    return Ok(pooled);
                }
            }
        }
    }

    async fn establish(
        &self,
        limit: Duration,
        permit: ConnectionPermit,
    ) -> Result<PooledConnection, UpstreamError> {
        let begun = Instant::now();
        self.connect(limit, false, async |attempt| {
            let connected = attempt.run(permit).await?;
            self.pool.reuse.connected(begun.elapsed());
            self.speak(connected, false).await
        })
        .await
    }

    /// Connects within the limit, all steps together.
    async fn connect<T>(
        &self,
        limit: Duration,
        http1_only: bool,
        connect: impl AsyncFnOnce(Attempt<'_>) -> Result<T, UpstreamError>,
    ) -> Result<T, UpstreamError> {
        let stage = RefCell::default();
        let (pool, endpoint) = (self.pool, self.endpoint);
        let deadline = Instant::now() + limit;
        let attempt = Attempt { pool, endpoint, http1_only, deadline, stage: &stage };
        let connected = rt::timeout(limit, connect(attempt)).await;
        let connected =
            connected.unwrap_or_else(|_| Err(self.timed_out(limit, stage.borrow().as_str())))?;
        pool.meter.sent_over_fresh();
        pool.connected();
        Ok(connected)
    }

    /// Speaks HTTP over a new connection. One that is owned serves one client alone.
    async fn speak(
        &self,
        connected: Connected,
        is_owned: bool,
    ) -> Result<PooledConnection, UpstreamError> {
        let Connected { transport, address, http2 } = connected;
        let now = Instant::now();
        if http2 {
            let speaking = handshake::http2(transport, address).await;
            let parts = speaking.map_err(|error| self.broken(&error))?;
            let (connection, driver) = match is_owned {
                true => self.pool.add_owned_http2(parts, now),
                false => self.pool.add_http2(parts, now),
            };
            rt::spawn(driver);
            Ok(connection)
        } else {
            let most = self.pool.max_response_headers.get();
            let speaking = handshake::http1(transport, address, most).await;
            let (connection, driver) = speaking.map_err(|error| self.broken(&error))?;
            rt::spawn(driver.run());
            Ok(match is_owned {
                true => self.pool.add_owned_http1(connection, now),
                false => self.pool.add_http1(connection, now),
            })
        }
    }

    /// A permit to connect, or a connection that became free while there was none.
    pub(super) async fn room(&self, reason: NoRoom) -> Result<Room, UpstreamError> {
        let take = || self.pool.take(self.endpoint, Instant::now());
        self.wait_for_room(reason, take).await
    }

    /// A permit to connect.
    pub(super) async fn permit(&self) -> Result<ConnectionPermit, UpstreamError> {
        let reason = match self.pool.share.permit(self.wanted()) {
            Ok(permit) => return Ok(permit),
            Err(reason) => reason,
        };
        match self.wait_for_room(reason, || None).await? {
            Room::Permit(permit) => Ok(permit),
            Room::Pooled(_) => Err(self.closed("a pooled connection instead of a permit")),
        }
    }

    async fn wait_for_room(
        &self,
        reason: NoRoom,
        take: impl Fn() -> Option<PooledConnection>,
    ) -> Result<Room, UpstreamError> {
        let waited = self.pool.share.wait_for_room(self.wanted(), reason, take).await;
        waited.map_err(|reason| self.overflow(reason.limit(), &reason))
    }

    fn wanted(&self) -> WantedConnection<'_> {
        WantedConnection {
            endpoint: &self.pool.connections,
            breaker: self.cluster.breaker(),
            limit: self.room_limit(),
        }
    }

    /// Gives the time that connecting to this endpoint may take, and measures the time that it took.
    async fn measured<T>(
        &self,
        connect: impl AsyncFnOnce(Duration) -> Result<T, UpstreamError>,
    ) -> Result<T, ConnectFailure> {
        let begun = Instant::now();
        let connected = match self.admit(CircuitLimit::MaxPendingRequests) {
            Ok(_pending) => connect(self.limit()).await,
            Err(error) => Err(error),
        };
        connected.map_err(|error| ConnectFailure { error, spent: begun.elapsed() })
    }

    /// The time for connecting that is left for all endpoints.
    fn within(&self) -> Duration {
        let most = self.cluster.connect_timeout();
        self.connecting.within_ms.map_or(most, |ms| duration(ms).min(most))
    }

    /// How long to wait for our own limits: they must show before the response counts as late, which
    /// would be taken for the endpoint's fault.
    fn room_limit(&self) -> Duration {
        let most = self.within();
        let response = self.connecting.response_within_ms.map(duration);
        response.map_or(most, |response| most.min(response * 9 / 10))
    }

    fn limit(&self) -> Duration {
        let ConnectOptions { response_within_ms, untried, .. } = self.connecting;
        let untried = match untried {
            Some(untried) => untried.get().into(),
            None if self.cluster.retry().on.connect => self.cluster.current().selectable(),
            None => 1,
        };
        attempt_limit(self.within(), response_within_ms.map(duration), untried)
    }

    fn timed_out(&self, limit: Duration, stage: &str) -> UpstreamError {
        let detail = format!("no connection to {} in {limit:?}: {stage}", self.endpoint);
        UpstreamError { kind: FailureKind::ConnectTimeout, detail }
    }
}

fn duration(ms: NonZeroU32) -> Duration {
    Duration::from_millis(ms.get().into())
}
