//! An HTTP/2 client that stays on one connection for as long as a test needs it.

use std::{future::Future, net::SocketAddr, time::Duration};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::Request;
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsConnector;

use crate::{raw::TlsOptions, wait::DEADLINE};

/// Between two looks at what a test waits for.
const PAUSE: Duration = Duration::from_millis(5);

/// A connection. It is driven during the wait for a response, and never reconnects.
#[derive(Debug)]
pub struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    name: String,
}

impl Http2 {
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
            let reset = std::future::poll_fn(|cx| sending.poll_reset(cx)).await;
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

fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await });
    done.expect("the deadline not to pass")
}
