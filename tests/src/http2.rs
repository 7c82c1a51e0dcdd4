//! An HTTP/2 client that stays on one connection for as long as a test needs it.

use std::{
    future::Future,
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
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
