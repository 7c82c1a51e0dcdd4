//! A scripted upstream: a threaded server of bytes, for behaviour that real servers never show
//! (reset, stall, false lengths) and for a record of exactly what reached it.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

use rustls::{RootCertStore, ServerConfig, ServerConnection, server::WebPkiClientVerifier};
use serde_json::{Value, json};

use crate::{
    http::{RequestHead, parse_headers},
    pki::{Pair, pki},
    raw::{read_chain, read_key},
    wire::Wire,
};

/// A running upstream; stops when dropped, its connections with it.
#[derive(Debug)]
pub struct Backend {
    address: SocketAddr,
    secure: bool,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    stopped: AtomicBool,
    accepted: AtomicUsize,
    resumed: AtomicUsize,
    open: Mutex<Vec<Weak<TcpStream>>>,
}

/// The TLS settings of the upstream.
#[derive(Debug, Clone)]
pub struct TlsServer {
    /// The certificate that it presents.
    pub pair: Pair,
    /// Require a client certificate of [`crate::Pki::ca`].
    pub client_auth: bool,
    /// The protocols that it accepts by ALPN.
    pub alpn: Vec<&'static str>,
}

impl Backend {
    /// Serves plain HTTP with a script that runs for each connection.
    pub fn plain(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1:0", None, script)
    }

    /// Serves plain HTTP on the IPv6 loopback address.
    pub fn plain_v6(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::start("[::1]:0", None, script)
    }

    /// Serves plain HTTP on this address.
    pub fn plain_on(
        address: SocketAddr,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        Self::start(&address.to_string(), None, script)
    }

    /// Serves HTTPS with [`crate::Pki::upstream`].
    pub fn secure(script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        let tls = TlsServer { pair: pki().upstream(), client_auth: false, alpn: Vec::new() };
        Self::tls(&tls, script)
    }

    /// Serves HTTPS.
    pub fn tls(tls: &TlsServer, script: impl Fn(&mut Conn) + Send + Sync + 'static) -> Self {
        Self::start("127.0.0.1:0", Some(server_config(tls)), script)
    }

    /// Answers every request with a JSON description of it; see [`describe`].
    pub fn echo() -> Self {
        Self::plain(echo)
    }

    /// Answers every request with a `200` and this text.
    pub fn text(text: &str) -> Self {
        Self::plain(says(text))
    }

    fn start(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&mut Conn) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a port for an upstream");
        let address = listener.local_addr().expect("the port of an upstream");
        let shared = Arc::new(Shared::default());
        let backend = Self { address, secure: tls.is_some(), shared: Arc::clone(&shared) };
        let script = Arc::new(script);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                if shared.stopped.load(SeqCst) {
                    return;
                }
                serve(tcp, tls.clone(), &shared, &script);
            }
        });
        backend
    }

    /// The address of the upstream.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL for a route's `to`: with the name `localhost` if it uses TLS.
    pub fn url(&self) -> String {
        if self.secure {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
    }

    /// The number of connections it has accepted.
    pub fn connections(&self) -> usize {
        self.shared.accepted.load(SeqCst)
    }

    /// The number of connections that resumed a TLS session.
    pub fn resumed(&self) -> usize {
        self.shared.resumed.load(SeqCst)
    }

    /// The number of connections that are open on this side.
    pub fn open(&self) -> usize {
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|tcp| tcp.strong_count() > 0);
        open.len()
    }

    /// Closes the listener and every connection.
    pub fn stop(&self) {
        if self.shared.stopped.swap(true, SeqCst) {
            return;
        }
        let _ = TcpStream::connect(self.address); // wakes the accept
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        for tcp in open.iter().filter_map(Weak::upgrade) {
            let _ = tcp.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
    }
}

fn serve<S: Fn(&mut Conn) + Send + Sync + 'static>(
    tcp: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    shared: &Arc<Shared>,
    script: &Arc<S>,
) {
    let tcp = Arc::new(tcp);
    let id = shared.accepted.fetch_add(1, SeqCst) + 1;
    let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
    open.retain(|tcp| tcp.strong_count() > 0);
    open.push(Arc::downgrade(&tcp));
    drop(open);
    let (script, shared) = (Arc::clone(script), Arc::clone(shared));
    thread::spawn(move || {
        let mut wire = Wire::plain(tcp);
        if let Some(config) = tls {
            wire = wire.secured(ServerConnection::new(config).expect("a TLS server"));
            if wire.handshake().is_err() {
                wire.truncate();
                return wire.linger(); // for the alert to arrive
            }
            let kind = wire.tls().and_then(|tls| tls.handshake_kind());
            if kind == Some(rustls::HandshakeKind::Resumed) {
                shared.resumed.fetch_add(1, SeqCst);
            }
        }
        let mut conn = Conn { id, wire, received: Vec::new(), ending: Ending::Clean };
        script(&mut conn);
        conn.end();
    });
}

fn server_config(tls: &TlsServer) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring serves both versions");
    let builder = if tls.client_auth {
        let mut roots = RootCertStore::empty();
        for cert in read_chain(&pki().ca()) {
            roots.add(cert).expect("a CA certificate");
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        builder.with_client_cert_verifier(verifier.build().expect("a verifier of clients"))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder
        .with_single_cert(read_chain(&tls.pair.cert), read_key(&tls.pair.key))
        .expect("a server certificate and its key");
    config.alpn_protocols = tls.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The way in which a connection ends after its script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Clean,
    Truncated,
    Reset,
}

/// A connection under the control of a script.
#[derive(Debug)]
pub struct Conn {
    /// The number of the connection, from 1.
    pub id: usize,
    wire: Wire,
    received: Vec<u8>,
    ending: Ending,
}

impl Conn {
    /// Receives the head of the next request; `None` if the client has ended the connection.
    pub fn request(&mut self) -> Option<RequestHead> {
        let head = self.take_until(b"\r\n\r\n")?;
        RequestHead::parse(&String::from_utf8_lossy(&head))
    }

    /// Receives the body that the head announces, and drops its trailers.
    pub fn body(&mut self, head: &RequestHead) -> Vec<u8> {
        self.body_and_trailers(head).0
    }

    /// Receives the body that the head announces, with its trailers.
    pub fn body_and_trailers(&mut self, head: &RequestHead) -> (Vec<u8>, Vec<(String, String)>) {
        let chunked = head.all("transfer-encoding").iter().any(|v| v.contains("chunked"));
        if chunked {
            return self.chunks();
        }
        let length = head.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        (self.take(length).unwrap_or_default(), Vec::new())
    }

    fn chunks(&mut self) -> (Vec<u8>, Vec<(String, String)>) {
        let mut body = Vec::new();
        while let Some(line) = self.take_until(b"\r\n") {
            let line = String::from_utf8_lossy(&line);
            let digits = line.split(';').next().unwrap_or_default().trim();
            let Ok(length) = usize::from_str_radix(digits, 16) else { break };
            if length == 0 {
                return (body, self.trailers());
            }
            body.extend(self.take(length).unwrap_or_default());
            self.take(2);
        }
        (body, Vec::new())
    }

    fn trailers(&mut self) -> Vec<(String, String)> {
        let mut trailers = Vec::new();
        while let Some(line) = self.take_until(b"\r\n") {
            if line == b"\r\n" {
                break;
            }
            trailers.extend(parse_headers(&String::from_utf8_lossy(&line)));
        }
        trailers
    }

    /// Receives, piece by piece, the body that the head announces; false if it is truncated.
    pub fn stream_body(&mut self, head: &RequestHead, mut sink: impl FnMut(&[u8])) -> bool {
        if let Some(length) = head.header("content-length").and_then(|v| v.parse().ok()) {
            return self.pour(length, &mut sink);
        }
        while let Some(line) = self.take_until(b"\r\n") {
            let line = String::from_utf8_lossy(&line);
            let Ok(length) = usize::from_str_radix(line.trim(), 16) else { return false };
            if length == 0 {
                self.trailers();
                return true;
            }
            if !self.pour(length, &mut sink) || self.take(2).is_none() {
                return false;
            }
        }
        false
    }

    fn pour(&mut self, mut length: usize, sink: &mut impl FnMut(&[u8])) -> bool {
        while length > 0 {
            if self.received.is_empty() && self.fill().is_none() {
                return false;
            }
            let n = length.min(self.received.len());
            sink(&self.received[..n]);
            self.received.drain(..n);
            length -= n;
        }
        true
    }

    /// Receives any further bytes; `None` at the end of the connection.
    pub fn some(&mut self) -> Option<Vec<u8>> {
        if self.received.is_empty() {
            self.fill()?;
        }
        Some(std::mem::take(&mut self.received))
    }

    /// Receives until the client ends the connection.
    pub fn wait_for_end(&mut self) {
        while self.some().is_some() {}
    }

    /// Sends bytes. The next read detects a client that has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.wire.write_all(bytes.as_ref());
    }

    /// Sends bytes; false if the client does not accept them any more.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends a response with a body of known length.
    pub fn respond(&mut self, status: u16, body: &str) {
        let length = body.len();
        self.send(format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n\r\n{body}"));
    }

    /// Ends the connection with a reset when the script returns.
    pub fn end_with_reset(&mut self) {
        self.ending = Ending::Reset;
    }

    /// Ends the connection without `close_notify` when the script returns.
    pub fn end_without_close_notify(&mut self) {
        self.ending = Ending::Truncated;
    }

    fn end(mut self) {
        match self.ending {
            Ending::Clean => self.wire.finish(),
            Ending::Truncated => self.wire.truncate(),
            Ending::Reset => return self.wire.reset(),
        }
        self.wire.linger();
    }

    fn take_until(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            let found = self.received.windows(mark.len()).position(|w| w == mark);
            if let Some(start) = found {
                return Some(self.received.drain(..start + mark.len()).collect());
            }
            self.fill()?;
        }
    }

    /// Receives this many bytes; `None` if the client ends the connection first.
    pub fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.received.len() < length {
            self.fill()?;
        }
        Some(self.received.drain(..length).collect())
    }

    fn fill(&mut self) -> Option<()> {
        let mut buffer = vec![0; 256 * 1024];
        let n = self.wire.read(&mut buffer).ok().filter(|n| *n > 0)?;
        self.received.extend_from_slice(&buffer[..n]);
        Some(())
    }
}

/// Answers a ClientHello like a server of plain HTTP.
pub fn not_tls(conn: &mut Conn) {
    if conn.some().is_some() {
        conn.respond(400, "this is plain HTTP");
    }
}

/// Answers requests with a `200` and this text until the client ends.
pub fn says(text: &str) -> impl Fn(&mut Conn) + Send + Sync + 'static {
    let text = text.to_owned();
    move |conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            conn.respond(200, &text);
        }
    }
}

/// Answers requests with [`describe`] until the client ends.
pub fn echo(conn: &mut Conn) {
    while let Some(head) = conn.request() {
        let (body, trailers) = conn.body_and_trailers(&head);
        let text = describe(conn.id, &head, &body, &trailers).to_string();
        let length = text.len();
        conn.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n\
             {text}"
        ));
    }
}

/// A request as JSON: `connection`, `method`, `target`, `version`, `headers` and `trailers` as
/// pairs, `body` as text.
pub fn describe(
    connection: usize,
    head: &RequestHead,
    body: &[u8],
    trailers: &[(String, String)],
) -> Value {
    json!({
        "connection": connection,
        "method": head.method,
        "target": head.target,
        "version": head.version,
        "headers": head.headers,
        "trailers": trailers,
        "body": String::from_utf8_lossy(body),
    })
}

/// The response of [`Backend::echo`].
#[derive(Debug, Clone)]
pub struct Echoed(pub Value);

impl Echoed {
    /// Reads a response.
    ///
    /// # Panics
    /// When it is not one.
    pub fn parse(body: &str) -> Self {
        Self(serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: not an echo: {body:?}")))
    }

    /// A text field.
    ///
    /// # Panics
    /// When there is no such field.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("no {field} in {}", self.0))
    }

    /// The number of the connection that carried the request.
    pub fn connection(&self) -> u64 {
        self.0["connection"].as_u64().unwrap_or(0)
    }

    /// The values of a header of the request.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.pairs("headers")
            .into_iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect()
    }

    /// The first value of a header of the request.
    pub fn header(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next()
    }

    /// The trailers of the request.
    pub fn trailers(&self) -> Vec<(String, String)> {
        self.pairs("trailers")
    }

    fn pairs(&self, field: &str) -> Vec<(String, String)> {
        serde_json::from_value(self.0[field].clone()).unwrap_or_default()
    }
}
