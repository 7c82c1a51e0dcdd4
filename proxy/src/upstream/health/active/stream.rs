//! A connection for checks: TCP or a Unix socket, TLS where the route has it, and a limit on what the
//! endpoint may send.

use std::{
    cell::Cell,
    io,
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    time::Instant,
};
use tokio_rustls::TlsConnector;

use crate::{
    tls::UpstreamTls,
    upstream::{
        Resolution, dns::DnsName, endpoint::Target, tokio_connect::connect_first,
        tokio_connect::tls_failure_text,
    },
};

/// The most bytes of an answer, of any kind, that a check reads.
pub(super) const MAX_ANSWER_BYTES: usize = 16 << 10;

/// What a check is doing, for the message of one that takes too long.
#[derive(Debug, Clone, Default)]
pub(super) struct CheckStage(Rc<Cell<&'static str>>);

impl CheckStage {
    pub(super) fn set(&self, stage: &'static str) {
        self.0.set(stage);
    }

    pub(super) fn get(&self) -> &'static str {
        self.0.get()
    }
}

/// The bytes that an endpoint may still send.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerAllowance(Rc<Cell<usize>>);

impl AnswerAllowance {
    /// A new check begins.
    pub(super) fn renew(&self) {
        self.0.set(MAX_ANSWER_BYTES);
    }

    fn take(&self, bytes: usize) -> io::Result<()> {
        let left = self.0.get().checked_sub(bytes).ok_or_else(|| {
            io::Error::other(format!("the answer has more than {MAX_ANSWER_BYTES} bytes"))
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// A connected endpoint. Reading fails once it has sent too much.
pub(super) struct CheckStream {
    io: Box<dyn CheckIo>,
    allowance: AnswerAllowance,
}

trait CheckIo: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> CheckIo for T {}

impl CheckStream {
    /// Connects, TLS included. The caller sets a limit to the time; each of several addresses gets a
    /// part of it, and `turn` is how many of them are left out at first.
    ///
    /// # Errors
    ///
    /// A text for the log and status.
    pub(super) async fn connect(
        target: &Target,
        tls: Option<&UpstreamTls>,
        deadline: Instant,
        turn: usize,
        stage: &CheckStage,
    ) -> Result<(CheckStream, AnswerAllowance), String> {
        let io: Box<dyn CheckIo> = match target {
            Target::Unix(path) => {
                stage.set("connecting");
                let connected = UnixStream::connect(path).await;
                Box::new(connected.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            Target::Ip(address) => Box::new(tcp(&[*address], deadline, stage).await?),
            Target::Name(name, port) => {
                let mut addresses = resolve(name, *port, stage).await?;
                // Checks go to all addresses, as requests do.
                let first = turn % addresses.len().max(1);
                addresses.rotate_left(first);
                Box::new(tcp(&addresses, deadline, stage).await?)
            }
        };
        let io = match tls {
            Some(tls) => secure(io, tls, stage).await?,
            None => io,
        };
        let allowance = AnswerAllowance::default();
        allowance.renew();
        Ok((CheckStream { io, allowance: allowance.clone() }, allowance))
    }
}

async fn resolve(name: &DnsName, port: u16, stage: &CheckStage) -> Result<Vec<SocketAddr>, String> {
    stage.set("resolving the name");
    match &*name.resolved().await {
        Resolution::Addresses(addresses) => {
            Ok(addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
        }
        Resolution::Failed(why) => Err(format!("cannot resolve {}: {why}", name.host())),
        // `resolved` does not return this.
        Resolution::Pending => Err(format!("{} has not been resolved yet", name.host())),
    }
}

async fn tcp(
    addresses: &[SocketAddr],
    deadline: Instant,
    stage: &CheckStage,
) -> Result<tokio::net::TcpStream, String> {
    stage.set("connecting");
    let connected = connect_first(addresses, deadline).await;
    let stream = connected.map_err(|why| format!("cannot connect to {why}"))?;
    // Requests are written whole; without this, a second write may wait for an acknowledgment.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

async fn secure(
    io: Box<dyn CheckIo>,
    tls: &UpstreamTls,
    stage: &CheckStage,
) -> Result<Box<dyn CheckIo>, String> {
    stage.set("in the TLS handshake");
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    match connector.connect(tls.server_name.clone(), io).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => {
            let refusal = error.get_ref().and_then(|inner| inner.downcast_ref());
            let refusal = refusal.and_then(|error| tls.certificate_refusal(error));
            let refusal = refusal.map_or(String::new(), |refusal| format!("{refusal}: "));
            Err(format!("TLS: {refusal}{}", tls_failure_text(&error)))
        }
    }
}

impl AsyncRead for CheckStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        Poll::Ready(self.allowance.take(buffer.filled().len() - before))
    }
}

impl AsyncWrite for CheckStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
