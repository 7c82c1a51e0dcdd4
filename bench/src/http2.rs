//! Exchanges over HTTP/2.

use std::cell::Cell;

use anyhow::{Context as _, Error, Result, ensure};
use bytes::Bytes;
use h2::{
    Reason,
    client::{Builder, SendRequest},
};
use http::Request;
use tokio::sync::Mutex;

use crate::{
    arguments::Protocol,
    body::Expected,
    plan::Host,
    tally::{Seen, Terms},
    tls::{self, Stream},
    virtual_user::Period,
};

/// Larger than any response here, so that windows are seldom updated.
const WINDOW: u32 = 16 << 20;

/// The slot of a connection that several loops share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    connection: Mutex<Option<Connection>>,
    made: Cell<u64>,
}

/// A connection; its clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    send: SendRequest<Bytes>,
    terms: Terms,
    request: Request<()>,
    /// The number of this connection in its slot.
    number: u64,
}

/// Why an exchange failed.
enum Failure {
    /// The server says that it has not processed the request, which is allowed when it ends the
    /// connection (RFC 9113, section 8.7): the request belongs on another connection.
    Unprocessed(h2::Error),
    Failed(Error),
}

impl Shared {
    /// Makes one exchange, on a new connection if there is none.
    pub(crate) async fn exchange(&self, period: &Period) -> Result<Seen> {
        let mut connection = self.connection(period).await?;
        let mut outcome = connection.exchange(&period.plan.expected).await;
        if matches!(outcome, Err(Failure::Unprocessed(_))) {
            self.forget(&connection).await;
            connection = self.connection(period).await?;
            outcome = connection.exchange(&period.plan.expected).await;
        }
        match outcome {
            Ok(seen) => Ok(seen),
            Err(failure) => {
                self.forget(&connection).await;
                Err(failure.into())
            }
        }
    }

    /// The connection, if there is one.
    pub(crate) async fn held(&self) -> Option<Connection> {
        self.connection.lock().await.clone()
    }

    /// The connection, or a new one if there is none.
    pub(crate) async fn connection(&self, period: &Period) -> Result<Connection> {
        let mut place = self.connection.lock().await;
        if let Some(connection) = &*place {
            return Ok(connection.clone());
        }
        let host = period.plan.host()?;
        let (stream, terms) = period.connect(host, &period.plan.config).await?;
        let mut connection = Connection::new(stream, terms, host).await?;
        self.made.update(|made| made + 1);
        connection.number = self.made.get();
        *place = Some(connection.clone());
        Ok(connection)
    }

    /// Another loop may already have replaced the connection.
    async fn forget(&self, connection: &Connection) {
        let mut place = self.connection.lock().await;
        place.take_if(|there| there.number == connection.number);
    }
}

impl Connection {
    /// Makes a connection to this host from a stream. When the last clone is dropped, the client
    /// closes it.
    pub(crate) async fn new(stream: Stream, terms: Terms, host: &Host) -> Result<Self> {
        ensure!(tls::speaks(&stream, Protocol::Http2), "the server does not speak HTTP/2");
        let mut builder = Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        builder.enable_push(false);
        let (send, connection) = builder.handshake(stream).await.context("no HTTP/2 preface")?;
        // The loops that use the connection get its error.
        tokio::task::spawn_local(async move { drop(connection.await) });
        Ok(Self { send, terms, request: host.http2.clone(), number: 0 })
    }

    /// Sends one request and verifies its response.
    pub(crate) async fn verified(&mut self, expected: &Expected) -> Result<Seen> {
        Ok(self.exchange(expected).await?)
    }

    async fn exchange(&mut self, expected: &Expected) -> Result<Seen, Failure> {
        self.send = self.send.clone().ready().await.map_err(Failure::Unprocessed)?;
        let (response, _) = self.send.send_request(self.request.clone(), true)?;
        let response = response.await?;
        let status = response.status().as_u16();
        if status != 200 {
            return Err(Failure::Failed(Error::msg(format!("status {status}"))));
        }
        let mut body = response.into_body();
        let mut check = expected.check();
        while let Some(part) = body.data().await {
            let part = part?;
            check.part(&part).map_err(Failure::Failed)?;
            body.flow_control().release_capacity(part.len())?;
        }
        check.finish().map_err(Failure::Failed)?;
        Ok(Seen::Exchange { terms: self.terms, http: "HTTP/2" })
    }
}

impl From<h2::Error> for Failure {
    fn from(error: h2::Error) -> Self {
        let reason = error.reason();
        let gone = error.is_go_away() && error.is_remote() && reason == Some(Reason::NO_ERROR);
        if gone || reason == Some(Reason::REFUSED_STREAM) {
            Self::Unprocessed(error)
        } else {
            Self::Failed(Error::new(error).context("no complete response"))
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unprocessed(error) => {
                Self::new(error).context("the request was not processed")
            }
            Failure::Failed(error) => error,
        }
    }
}
