//! From an endpoint to a connected transport: resolve, connect, TLS.

use std::{
    cell::RefCell,
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use super::{
    DnsName, Endpoint, FailureKind, Protocol, Resolution, UpstreamError,
    connection_share::ConnectionPermit,
    endpoint::Target,
    endpoint_pool::EndpointPool,
    failure::{handshake_kind, handshake_text},
};
use crate::{
    rt,
    tls::{HandshakeError, TlsStream, Transport, UpstreamTls, UpstreamTlsSpec},
};

/// A connected transport that can carry HTTP.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) transport: Transport,
    /// `None` for a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// HTTP/2 was chosen by ALPN or by the configuration.
    pub(super) http2: bool,
}

/// One attempt to connect.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) pool: &'a EndpointPool,
    pub(super) endpoint: &'a Endpoint,
    /// Do not offer HTTP/2.
    pub(super) http1_only: bool,
    /// The deadline for all addresses together; each attempt gets a part of the time.
    pub(super) deadline: Instant,
    /// The current step, for the message of a timeout.
    pub(super) stage: &'a RefCell<String>,
}

impl Attempt<'_> {
    /// Connects, TLS included. The connection keeps the permit until it is closed.
    pub(super) async fn run(&self, permit: ConnectionPermit) -> Result<Connected, UpstreamError> {
        self.pool.meter.connecting();
        let (stream, remote) = self.open().await?;
        stream.hold(Box::new(permit));
        let address = remote.ip();
        let prior_knowledge = self.endpoint.spec.protocol == Protocol::Http2PriorKnowledge;
        let (transport, http2) = match &self.endpoint.spec.tls {
            None => (Transport::Plain(Box::new(stream)), prior_knowledge),
            Some(spec) => {
                let stream = self.secure(stream, spec, &remote).await?;
                let chosen = stream.session().alpn_protocol() == Some(b"h2");
                if !self.http1_only {
                    self.pool.learn(chosen);
                }
                (Transport::Tls(Box::new(stream)), chosen || prior_knowledge)
            }
        };
        Ok(Connected { transport, address, http2: http2 && !self.http1_only })
    }

    async fn open(&self) -> Result<(rt::Stream, RemoteAddress), UpstreamError> {
        match &self.endpoint.target {
            Target::Unix(path) => self.open_unix(path).await,
            Target::Ip(address) => self.open_first(&[*address]).await,
            Target::Name(name, port) => {
                let mut addresses = self.resolve(name, *port).await?;
                // Connections spread over all addresses.
                let first = self.pool.next_connect() % addresses.len().max(1);
                addresses.rotate_left(first);
                self.open_first(&addresses).await
            }
        }
    }

    async fn open_unix(&self, path: &Path) -> Result<(rt::Stream, RemoteAddress), UpstreamError> {
        self.at(format!("connecting to {}", path.display()));
        match rt::Stream::connect_unix(path).await {
            Ok(stream) => Ok((stream, RemoteAddress::Unix(path.into()))),
            Err(error) => Err(self.unconnected(&error.to_string())),
        }
    }

    /// Tries one address after the other.
    async fn open_first(
        &self,
        addresses: &[SocketAddr],
    ) -> Result<(rt::Stream, RemoteAddress), UpstreamError> {
        let mut failures = Vec::new();
        for (tried, address) in addresses.iter().enumerate() {
            self.at(format!("connecting to {address}"));
            let left = addresses.len() - tried;
            let remaining = self.deadline.saturating_duration_since(Instant::now());
            let connected = rt::timeout(share(remaining, left), rt::Stream::connect_tcp(*address));
            match connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => return Ok((stream, RemoteAddress::Ip(*address))),
                Err(error) => failures.push((*address, error)),
            }
        }
        let text = failures_text(&self.endpoint.to_string(), &failures);
        let mut failed = self.unconnected(&text);
        if Instant::now() >= self.deadline {
            // The caller's timeout is due at the same moment, and may fire later.
            failed.kind = FailureKind::ConnectTimeout;
        }
        Err(failed)
    }

    async fn resolve(&self, name: &DnsName, port: u16) -> Result<Vec<SocketAddr>, UpstreamError> {
        self.at(format!("resolving {}", name.host()));
        match &*name.resolved().await {
            Resolution::Addresses(addresses) => {
                Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
            }
            Resolution::Failed(why) => Err(UpstreamError {
                kind: FailureKind::Resolve,
                detail: format!("cannot resolve {}: {why}", name.host()),
            }),
            // `resolved` does not return this.
            Resolution::Pending => Err(UpstreamError {
                kind: FailureKind::Resolve,
                detail: format!("{} has not been resolved yet", name.host()),
            }),
        }
    }

    async fn secure(
        &self,
        stream: rt::Stream,
        spec: &UpstreamTlsSpec,
        remote: &RemoteAddress,
    ) -> Result<TlsStream, UpstreamError> {
        self.at(format!("in the TLS handshake with {remote}"));
        let failed = |kind, why: String| UpstreamError {
            kind,
            detail: format!(
                "TLS with {} ({remote}, expecting the name {}): {why}",
                self.endpoint.spec.authority, spec.verify_name
            ),
        };
        let tls = self.pool.tls(spec, self.http1_only);
        let tls = tls.map_err(|error| failed(FailureKind::TlsRejected, error.to_string()))?;
        let stream = TlsStream::connect(stream, tls.config.clone(), tls.server_name.clone())
            .await
            .inspect_err(|error| self.pool.meter.handshake_failed(error))
            .map_err(|error| failed(handshake_kind(&error), refusal_text(&error, tls)))?;
        self.pool.meter.handshake(stream.session().handshake_kind());
        Ok(stream)
    }

    fn at(&self, stage: String) {
        self.stage.replace(stage);
    }

    fn unconnected(&self, why: &str) -> UpstreamError {
        let detail = format!("cannot connect to {}: {why}", self.endpoint);
        UpstreamError { kind: FailureKind::Connect, detail }
    }
}

/// Why a handshake failed, with what that says of our client certificate.
fn refusal_text(error: &HandshakeError, tls: &UpstreamTls) -> String {
    let refusal = match error {
        HandshakeError::Tls(error) => tls.certificate_refusal(error),
        _ => None,
    };
    let text = handshake_text(error);
    refusal.map_or(text.clone(), |refusal| format!("{refusal}: {text}"))
}

/// The failures of all addresses. A single one that the endpoint is called by is not named again.
fn failures_text(endpoint: &str, failures: &[(SocketAddr, io::Error)]) -> String {
    let text = |(address, error): &(SocketAddr, io::Error)| match failures.len() {
        1 if endpoint.ends_with(&address.to_string()) => error.to_string(),
        _ => format!("{address}: {error}"),
    };
    failures.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// The remote address of a socket.
#[derive(Debug)]
enum RemoteAddress {
    Ip(SocketAddr),
    Unix(Box<Path>),
}

impl RemoteAddress {
    fn ip(&self) -> Option<IpAddr> {
        match self {
            RemoteAddress::Ip(address) => Some(address.ip()),
            RemoteAddress::Unix(_) => None,
        }
    }
}

impl fmt::Display for RemoteAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RemoteAddress::Ip(address) => address.fmt(f),
            RemoteAddress::Unix(path) => path.display().fmt(f),
        }
    }
}

/// The deadline for the next of `left` addresses: an equal part of the remaining time, so that time
/// saved by a quick refusal is left for the addresses after it.
pub(super) fn share(remaining: Duration, left: usize) -> Duration {
    remaining / u32::try_from(left.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_named_once() {
        let refused = |address: &str| {
            (address.parse().unwrap(), io::Error::from(io::ErrorKind::ConnectionRefused))
        };
        let one = [refused("127.0.0.1:80")];
        for endpoint in ["127.0.0.1:80", "localhost:80 at 127.0.0.1:80"] {
            assert_eq!(failures_text(endpoint, &one), "connection refused");
        }
        assert_eq!(failures_text("app.example:80", &one), "127.0.0.1:80: connection refused");
        let two = [refused("127.0.0.1:80"), refused("[::1]:80")];
        let expected = "127.0.0.1:80: connection refused; [::1]:80: connection refused";
        assert_eq!(failures_text("127.0.0.1:80", &two), expected);
    }

    #[test]
    fn each_address_gets_an_equal_part_of_what_remains() {
        let ten = Duration::from_secs(10);
        assert_eq!(share(ten, 1), ten);
        assert_eq!(share(ten, 4), Duration::from_millis(2500));
        assert_eq!(share(Duration::from_secs(9), 3), Duration::from_secs(3));
        assert_eq!(share(ten, 0), ten);
    }
}
