//! An HTTP/2 client that stays on one connection for as long as a test needs it.

use std::{future::Future, net::SocketAddr};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsConnector;

use crate::{raw::TlsOptions, wait::DEADLINE};

/// A request's or a response's content. Without data and trailers, the head ends the message.
#[derive(Debug, Clone, Default)]
pub struct Content {
    /// The data, in one frame.
    pub data: Option<Bytes>,
    /// The trailers.
    pub trailers: Option<HeaderMap>,
}

impl Content {
    /// Data alone.
    pub fn data(data: &'static str) -> Self {
        Self { data: Some(Bytes::from_static(data.as_bytes())), trailers: None }
    }

    /// Sends it behind a head.
    ///
    /// # Errors
    /// When the stream has ended.
    pub(crate) fn send(self, stream: &mut h2::SendStream<Bytes>) -> Result<(), h2::Error> {
        if let Some(data) = self.data {
            stream.send_data(data, self.trailers.is_none())?;
        }
        match self.trailers {
            Some(trailers) => stream.send_trailers(trailers),
            None => Ok(()),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.data.is_none() && self.trailers.is_none()
    }
}

/// Receives a message to its end.
///
/// # Errors
/// When it was cut off or malformed.
pub(crate) async fn receive(mut stream: h2::RecvStream) -> Result<Content, h2::Error> {
    let mut data = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        data.extend_from_slice(&piece);
    }
    let trailers = stream.trailers().await?;
    Ok(Content { data: Some(data.into()), trailers })
}

/// A connection. It is driven during the wait for a response, and never reconnects.
#[derive(Debug)]
pub struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    name: String,
}

impl Http2 {
    /// Connects to an address without TLS, as a client that knows of HTTP/2 there.
    ///
    /// # Panics
    /// When the connection cannot be made.
    pub fn clear(address: SocketAddr, name: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let connect = async {
            let tcp = TcpStream::connect(address).await.expect("a TCP connection");
            let (requests, connection) = h2::client::handshake(tcp).await.expect("HTTP/2");
            tokio::spawn(connection);
            requests
        };
        let requests = in_time(&runtime, connect);
        Self { runtime, requests, name: name.to_owned() }
    }

    /// Connects to an address, with the name and the certificate of these options.
    ///
    /// # Panics
    /// When there is no name, or the connection cannot be made.
    pub fn connect(address: SocketAddr, options: &TlsOptions) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let options = options.clone().alpn("h2");
        let name = options.name.clone().expect("a name to ask for");
        let server = ServerName::try_from(name.clone()).expect("a DNS name");
        let connect = async {
            let tcp = TcpStream::connect(address).await.expect("a TCP connection");
            let tls = TlsConnector::from(options.config()).connect(server, tcp).await;
            let tls = tls.expect("a TLS connection");
            let (requests, connection) = h2::client::handshake(tls).await.expect("HTTP/2");
            tokio::spawn(connection);
            requests
        };
        let requests = in_time(&runtime, connect);
        Self { runtime, requests, name }
    }

    /// Requests a path and returns the status of the response.
    ///
    /// # Panics
    /// When the connection has ended or there is no answer.
    pub fn get(&mut self, path: &str) -> u16 {
        let uri = format!("https://{}{path}", self.name);
        let request = Request::get(uri).body(()).expect("a request");
        let requests = self.requests.clone();
        let answer = async {
            let mut requests = requests.ready().await.expect("a connection that is open");
            let (response, _) = requests.send_request(request, true).expect("a stream");
            response.await.expect("a response")
        };
        in_time(&self.runtime, answer).status().as_u16()
    }

    /// A request for a path at the connection's name.
    ///
    /// # Panics
    /// When it is not a path.
    pub fn request(&self, method: &str, path: &str) -> Request<()> {
        let uri = format!("https://{}{path}", self.name);
        Request::builder().method(method).uri(uri).body(()).expect("a request")
    }

    /// Sends a request and receives the whole response.
    ///
    /// # Errors
    /// When the response was cut off or malformed.
    ///
    /// # Panics
    /// When the connection has ended, or the request cannot be sent.
    pub fn send(
        &mut self,
        request: Request<()>,
        content: Content,
    ) -> Result<Response<Content>, h2::Error> {
        let requests = self.requests.clone();
        let exchange = async {
            let mut requests = requests.ready().await?;
            let (response, mut stream) = requests.send_request(request, content.is_empty())?;
            if !content.is_empty() {
                content.send(&mut stream)?;
            }
            let (head, stream) = response.await?.into_parts();
            Ok(Response::from_parts(head, receive(stream).await?))
        };
        in_time(&self.runtime, exchange)
    }
}

fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await });
    done.expect("the deadline not to pass")
}
