//! An HTTP/2 client that stays on one connection for as long as a test needs it.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{ResponseFuture, SendRequest},
};
use http::{Request, Response};
use rustls::pki_types::ServerName;
use tokio::{
    net::TcpStream,
    runtime::{Builder, Runtime},
};
use tokio_rustls::TlsConnector;

use crate::{raw::TlsOptions, wait::DEADLINE};

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

fn in_time<T>(runtime: &Runtime, what: impl Future<Output = T>) -> T {
    let done = runtime.block_on(async { tokio::time::timeout(DEADLINE, what).await });
    done.expect("the deadline not to pass")
}
