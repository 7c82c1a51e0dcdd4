//! One check of one endpoint, over the connection that was kept or over a new one.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::{
    failure::CheckFailure,
    http::{HttpChecker, HttpExchange, HttpOrigin},
    http_connection::HttpConnection,
    spec::{CheckHttpVersion, CheckerSpec, HealthCheckSpec, TcpCheckSpec},
    stream::{AnswerAllowance, CheckStage, CheckStream},
    tcp,
};
use crate::{
    tls::UpstreamTls,
    upstream::{Endpoint, Protocol},
};

/// Checks one endpoint in one way.
pub(super) struct EndpointProbe {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) check: HealthCheckSpec,
    tls: Result<Option<UpstreamTls>, String>,
    kept: RefCell<Option<KeptConnection>>,
    /// Connections made, by which several addresses take turns.
    connects: Cell<usize>,
}

/// A connection that waits for the next check.
struct KeptConnection {
    connection: Connection,
    _permit: OwnedSemaphorePermit,
}

enum Connection {
    Http(HttpConnection),
    Tcp(CheckStream, AnswerAllowance),
}

/// How an exchange over a connection has ended.
enum Exchange {
    /// With an answer; and the connection, if it may serve again.
    Answered(Result<(), CheckFailure>, Option<Connection>),
    /// Without one.
    Unanswered(CheckFailure),
}

impl Connection {
    fn is_open(&self) -> bool {
        match self {
            Connection::Http(http) => http.is_open(),
            // Whether it is closed shows when it is used.
            Connection::Tcp(..) => true,
        }
    }
}

impl EndpointProbe {
    pub(super) fn new(endpoint: &Arc<Endpoint>, check: &HealthCheckSpec) -> EndpointProbe {
        let tls = tls(endpoint, &check.checker);
        EndpointProbe {
            endpoint: Arc::clone(endpoint),
            check: check.clone(),
            tls,
            kept: RefCell::default(),
            connects: Cell::default(),
        }
    }

    /// Checks the endpoint. It takes no longer than the check's timeout. `may_keep` are the permits of
    /// connections that wait for another check.
    pub(super) async fn run(&self, may_keep: &Arc<Semaphore>) -> Result<(), CheckFailure> {
        let deadline = Instant::now() + self.check.timeout;
        let stage = CheckStage::default();
        // Boxed: checks wait most of the time, and their futures are large.
        let checking = Box::pin(self.run_until(deadline, may_keep, &stage));
        timeout_at(deadline, checking).await.unwrap_or_else(|_| {
            let (timeout, stage) = (self.check.timeout, stage.get());
            Err(CheckFailure::counted(format!("no answer within {timeout:?}, {stage}")))
        })
    }

    async fn run_until(
        &self,
        deadline: Instant,
        may_keep: &Arc<Semaphore>,
        stage: &CheckStage,
    ) -> Result<(), CheckFailure> {
        // An endpoint may close a connection that waits: only a new one shows that it is down.
        if let Some(kept) = self.kept.take().filter(|kept| kept.connection.is_open())
            && let Exchange::Answered(result, connection) =
                self.exchange(kept.connection, stage).await
        {
            self.keep(connection, may_keep);
            return result;
        }
        let connection = self.connect(deadline, stage).await?;
        match self.exchange(connection, stage).await {
            Exchange::Answered(result, connection) => {
                self.keep(connection, may_keep);
                result
            }
            Exchange::Unanswered(failure) => Err(failure),
        }
    }

    async fn connect(
        &self,
        deadline: Instant,
        stage: &CheckStage,
    ) -> Result<Connection, CheckFailure> {
        let tls = self.tls.as_ref().map_err(CheckFailure::counted)?.as_ref();
        let turn = self.connects.replace(self.connects.get().wrapping_add(1));
        let connected =
            CheckStream::connect(&self.endpoint.target, tls, deadline, turn, stage).await;
        let (stream, allowance) = connected.map_err(CheckFailure::counted)?;
        let Some(version) = version(&self.endpoint, &self.check.checker) else {
            return Ok(Connection::Tcp(stream, allowance));
        };
        stage.set("beginning HTTP");
        let http = HttpConnection::new(stream, allowance, version).await;
        http.map(Connection::Http).map_err(|error| CheckFailure::counted(error.to_string()))
    }

    async fn exchange(&self, mut connection: Connection, stage: &CheckStage) -> Exchange {
        let (checker, http) = match (&self.check.checker, &mut connection) {
            (CheckerSpec::Http(spec), Connection::Http(http)) => (HttpChecker::Http(spec), http),
            (CheckerSpec::Grpc(spec), Connection::Http(http)) => (HttpChecker::Grpc(spec), http),
            (CheckerSpec::Tcp(spec), Connection::Tcp(stream, allowance)) => {
                allowance.renew();
                return match tcp::exchange(stream, spec, stage).await {
                    Ok(()) => {
                        let kept = is_dialogue(spec).then_some(connection);
                        Exchange::Answered(Ok(()), kept)
                    }
                    Err(failure) => Exchange::Unanswered(failure),
                };
            }
            // `connect` makes no other pairs.
            _ => return Exchange::Unanswered(CheckFailure::counted("the check cannot be made")),
        };
        match checker.exchange(http, self.origin(), stage).await {
            HttpExchange::Judged(result) => Exchange::Answered(result, Some(connection)),
            HttpExchange::Unanswered(failure) => Exchange::Unanswered(failure),
        }
    }

    fn origin(&self) -> HttpOrigin<'_> {
        HttpOrigin {
            authority: &self.endpoint.spec.authority,
            is_tls: self.endpoint.spec.tls.is_some(),
            tls: self.tls.as_ref().ok().and_then(Option::as_ref),
            version: version(&self.endpoint, &self.check.checker)
                .unwrap_or(CheckHttpVersion::Http1),
        }
    }

    fn keep(&self, connection: Option<Connection>, may_keep: &Arc<Semaphore>) {
        let open =
            connection.filter(|connection| self.check.reuse_connection && connection.is_open());
        let permit = || Arc::clone(may_keep).try_acquire_owned().ok();
        let kept = open.and_then(|connection| Some((connection, permit()?)));
        *self.kept.borrow_mut() =
            kept.map(|(connection, permit)| KeptConnection { connection, _permit: permit });
    }
}

/// Whether a connection is more than opened.
fn is_dialogue(spec: &TcpCheckSpec) -> bool {
    !spec.send.is_empty() && !spec.receive.is_empty()
}

/// The HTTP version of a check; `None` for one that is not HTTP.
fn version(endpoint: &Endpoint, checker: &CheckerSpec) -> Option<CheckHttpVersion> {
    match checker {
        CheckerSpec::Http(spec) => Some(spec.version.unwrap_or(match endpoint.spec.protocol {
            Protocol::Auto => CheckHttpVersion::Http1,
            Protocol::Http2PriorKnowledge => CheckHttpVersion::Http2,
        })),
        CheckerSpec::Grpc(_) => Some(CheckHttpVersion::Http2),
        CheckerSpec::Tcp(_) => None,
    }
}

/// The route's own TLS, which offers only the HTTP version that the check speaks: Envoy offers both,
/// and a check over HTTP/1.1 then fails at an endpoint that chooses HTTP/2.
fn tls(endpoint: &Endpoint, checker: &CheckerSpec) -> Result<Option<UpstreamTls>, String> {
    let Some(spec) = &endpoint.spec.tls else { return Ok(None) };
    let mut tls = UpstreamTls::new(spec).map_err(|error| error.to_string())?;
    let offered: &[u8] = match version(endpoint, checker) {
        Some(CheckHttpVersion::Http1) => b"http/1.1",
        Some(CheckHttpVersion::Http2) => b"h2",
        None => return Ok(Some(tls)),
    };
    Arc::make_mut(&mut tls.config).alpn_protocols = vec![offered.to_vec()];
    Ok(Some(tls))
}
