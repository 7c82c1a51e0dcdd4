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

/// A connection, at rest between two exchanges.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    terms: Terms,
    requests: Requests,
    closes: bool,
}

impl Connection {
    /// Over a stream to this host.
    pub(crate) fn new(stream: Stream, terms: Terms, host: &Host) -> Result<Self> {
        ensure!(tls::speaks(&stream, Protocol::Http1), "the server does not speak HTTP/1.1");
        Ok(Self { stream, terms, requests: host.http1.clone(), closes: false })
    }

    /// Whether another request can be sent: neither has the last response announced the end, nor
    /// has the end come since.
    pub(crate) async fn is_open(&mut self) -> bool {
        let idle =
            poll_fn(|cx| Poll::Ready(Pin::new(&mut self.stream).poll_fill_buf(cx).is_pending()));
        !self.closes && idle.await
    }

    /// One request and its response, verified. An error ends the connection.
    pub(crate) async fn exchange(&mut self, expected: &Expected) -> Result<Seen> {
        self.stream.write_all(&self.requests.next()).await.context("cannot send")?;
        self.stream.flush().await.context("cannot send")?;
        let head = self.receive(expected).await?;
        self.closes = head.closes;
        let http = if head.is_http11 { "HTTP/1.1" } else { "HTTP/1.0" };
        Ok(Seen::Exchange { terms: self.terms, http })
    }

    /// Closes first, without having asked the server to, so that TIME_WAIT is ours: a SYN into the
    /// server's goes past SYN cookies.
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
            // Rather this than that the body of an error is wrong.
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
