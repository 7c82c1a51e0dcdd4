//! Exchanges over HTTP/1.1.

use std::{future::poll_fn, pin::Pin, task::Poll};

use anyhow::{Context as _, Result, ensure};
use tokio::io::{AsyncBufRead as _, AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::{
    arguments::Protocol,
    body::Expected,
    plan::{Host, Requests},
    response::{Head, Response},
    tally::{Seen, Terms},
    tls::{self, Stream},
};

/// A connection that is idle between two exchanges.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    terms: Terms,
    requests: Requests,
    closes: bool,
}

impl Connection {
    /// Makes a connection to this host from an established stream.
    pub(crate) fn new(stream: Stream, terms: Terms, host: &Host) -> Result<Self> {
        ensure!(tls::speaks(&stream, Protocol::Http1), "the server does not speak HTTP/1.1");
        Ok(Self { stream, terms, requests: host.http1.clone(), closes: false })
    }

    /// Whether another request can be sent: the last response did not announce the end of the
    /// connection, and the connection has not ended since.
    pub(crate) async fn is_open(&mut self) -> bool {
        let idle =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut self.stream).poll_fill_buf(cx).is_pending()));
        !self.closes && idle.await
    }

    /// Sends one request and verifies its response. An error ends the connection.
    pub(crate) async fn exchange(&mut self, expected: &Expected) -> Result<Seen> {
        self.stream.write_all(&self.requests.next()).await.context("cannot send")?;
        self.stream.flush().await.context("cannot send")?;
        let head = self.receive(expected).await?;
        self.closes = head.closes;
        let http = if head.is_http11 { "HTTP/1.1" } else { "HTTP/1.0" };
        Ok(Seen::Exchange { terms: self.terms, http })
    }

    /// Closes first, without a request for that to the server, so that the TIME_WAIT is on our
    /// side: a SYN that reaches the server's TIME_WAIT bypasses SYN cookies.
    pub(crate) async fn close(mut self) {
        self.stream.get_mut().1.send_close_notify();
        let _ = self.stream.flush().await;
    }

    async fn receive(&mut self, expected: &Expected) -> Result<Head> {
        let mut response = Response::new();
        let mut body = expected.check();
        while !response.is_complete() {
            let bytes = self.stream.fill_buf().await.context("no complete response")?;
            let length = bytes.len();
            if bytes.is_empty() {
                response.end()?;
            }
            let pushed = response.push(bytes, |part| body.part(part));
            // The status says more than a wrong body would.
            if let Some(Head { status, .. }) = response.head() {
                ensure!(status == 200, "status {status}");
            }
            pushed?;
            self.stream.consume(length);
        }
        body.finish()?;
        response.head().context("a response without a head")
    }
}
