//! An HTTP/2 client that stays on one connection for as long as a test needs it.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{HeaderMap, Request, Response};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsConnector;

use crate::{raw::TlsOptions, wait::DEADLINE};

/// Between two looks at what a test waits for.
const PAUSE: Duration = Duration::from_millis(5);
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
    pub(crate) fn send(self, stream: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
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
        self.get_with(path, &[])
    }

    /// The same with fields.
    ///
    /// # Panics
    /// When the connection has ended or there is no answer.
    pub fn get_with(&mut self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let mut request = Request::get(self.uri(path));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a request");
        let answer = async {
            let (response, _) = self.begin(request, true).await;
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

    /// Requests a path, and reads the response with its trailers.
    ///
    /// # Errors
    /// If the response is not whole.
    ///
    /// # Panics
    /// When the connection has ended or the deadline passes.
    pub fn get_whole(&mut self, path: &str) -> Result<Vec<u8>, h2::Error> {
        let request = Request::get(self.uri(path)).body(()).expect("a request");
        let answer = async {
            let (response, _) = self.begin(request, true).await;
            let mut body = response.await?.into_body();
            let mut whole = Vec::new();
            while let Some(data) = body.data().await {
                whole.extend_from_slice(&data?);
            }
            body.trailers().await.map(|_| whole)
        };
        in_time(&self.runtime, answer)
    }

    /// Posts a body that goes on for ever, and returns the status and the code with which the stream is
    /// reset.
    ///
    /// # Panics
    /// When the connection has ended or there is no answer.
    pub fn post_unwanted(&mut self, path: &str) -> (u16, Option<h2::Reason>) {
        let request = Request::post(self.uri(path)).body(()).expect("a request");
        let answer = async {
            let (response, mut sending) = self.begin(request, false).await;
            sending.send_data(vec![b'x'; 1 << 20].into(), false).expect("a stream that is open");
            let response = response.await.expect("a response");
            let status = response.status().as_u16();
            let mut body = response.into_body();
            while let Some(data) = body.data().await {
                data.expect("a whole response");
            }
            let reset = poll_fn(|cx| sending.poll_reset(cx)).await;
            (status, reset.ok())
        };
        in_time(&self.runtime, answer)
    }

    /// Posts a body once the response has begun, waits until it has arrived, and returns the status.
    ///
    /// # Panics
    /// When the connection has ended or there is no answer.
    pub fn post_when_answered(
        &mut self,
        path: &str,
        body: Vec<u8>,
        mut has_arrived: impl FnMut() -> bool,
    ) -> u16 {
        let request = Request::post(self.uri(path)).body(()).expect("a request");
        let answer = async {
            let (response, mut sending) = self.begin(request, false).await;
            let response = response.await.expect("a response");
            sending.send_data(body.into(), true).expect("a stream that is open");
            while !has_arrived() {
                tokio::time::sleep(PAUSE).await;
            }
            response
        };
        in_time(&self.runtime, answer).status().as_u16()
    }

    fn uri(&self, path: &str) -> String {
        format!("https://{}{path}", self.name)
    }

    async fn begin(&self, request: Request<()>, ends: bool) -> (ResponseFuture, SendStream<Bytes>) {
        let requests = self.requests.clone();
        let mut requests = requests.ready().await.expect("a connection that is open");
        requests.send_request(request, ends).expect("a stream")
    }
}

/// A request under way, whose body is still to be sent.
#[derive(Debug)]
pub struct OpenRequest {
    response: ResponseFuture,
    body: SendStream<Bytes>,
}

impl Http2 {
    /// Sends the head of a POST with these fields.
    ///
    /// # Panics
    /// When the connection has ended.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> OpenRequest {
        let request = Request::post(format!("https://{}{path}", self.name));
        let request =
            fields.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(()).expect("a request");
        let requests = self.requests.clone();
        let (response, body) = in_time(&self.runtime, async {
            let mut requests = requests.ready().await.expect("a connection that is open");
            requests.send_request(request, false).expect("a stream")
        });
        OpenRequest { response, body }
    }

    /// The next interim response; `None` if the final one comes instead.
    ///
    /// # Panics
    /// When the stream fails.
    pub fn interim(&self, open: &mut OpenRequest) -> Option<Response<()>> {
        let next = poll_fn(|cx| open.response.poll_informational(cx));
        in_time(&self.runtime, next).transpose().expect("no failure of the stream")
    }

    /// Sends the body.
    ///
    /// # Panics
    /// When the stream is closed.
    pub fn send_body(&self, open: &mut OpenRequest, body: &'static str) {
        open.body.send_data(body.into(), true).expect("an open stream");
    }

    /// The status of the final response.
    ///
    /// # Panics
    /// When the stream fails.
    pub fn status(&self, open: OpenRequest) -> u16 {
        in_time(&self.runtime, open.response).expect("a response").status().as_u16()
    }

    /// Sends the body, and returns the status of the final response.
    ///
    /// # Panics
    /// When the stream fails.
    pub fn finish(&self, mut open: OpenRequest, body: &'static str) -> u16 {
        self.send_body(&mut open, body);
        self.status(open)
    }
}

/// Sends so many requests at once on one connection, and stays until it is told to stop.
///
/// # Panics
/// When the connection cannot be made.
pub fn ask_for_all(address: SocketAddr, host: &str, count: usize, stop: &AtomicBool) {
    let client = Http2::connect(address, &TlsOptions::name(host));
    let Http2 { runtime, requests, .. } = client;
    runtime.block_on(async {
        let mut answers = Vec::new();
        for _ in 0..count {
            let uri = format!("https://{host}/");
            let request = Request::get(uri).body(()).expect("a request");
            let Ok(mut ready) = requests.clone().ready().await else { return };
            let Ok((answer, _)) = ready.send_request(request, true) else { return };
            answers.push(answer);
        }
        while !stop.load(SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await });
    done.expect("the deadline not to pass")
}
