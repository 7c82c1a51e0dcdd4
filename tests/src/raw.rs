//! A client that can send any bytes, over TCP or TLS, and reports how its connection ended.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};

use crate::{
    http::Response,
    pki::{Pair, pki},
    wait::DEADLINE,
    wire::{End, Wire},
};

/// The parameters of the TLS client.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// The server name; `None` sends no SNI.
    pub name: Option<String>,
    /// The client certificate.
    pub client: Option<Pair>,
    /// Protocols offered by ALPN.
    pub alpn: Vec<&'static str>,
    /// Offer TLS 1.2 only.
    pub tls12: bool,
}

impl TlsOptions {
    /// Sends a server name and no other option.
    pub fn name(name: &str) -> Self {
        Self { name: Some(name.to_owned()), client: None, alpn: Vec::new(), tls12: false }
    }

    /// Presents a client certificate.
    pub fn client(mut self, pair: Pair) -> Self {
        self.client = Some(pair);
        self
    }

    /// Offers TLS 1.2 only.
    pub fn tls12(mut self) -> Self {
        self.tls12 = true;
        self
    }

    /// Offers a protocol by ALPN.
    pub fn alpn(mut self, protocol: &'static str) -> Self {
        self.alpn.push(protocol);
        self
    }

    /// The configuration, for tests that keep it to resume sessions. It trusts [`crate::Pki::ca`].
    ///
    /// # Panics
    /// When a certificate cannot be read.
    pub fn config(&self) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for cert in read_chain(&pki().ca()) {
            roots.add(cert).expect("a CA certificate");
        }
        let versions: &[&SupportedProtocolVersion] =
            if self.tls12 { &[&TLS12] } else { &[&TLS13, &TLS12] };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("ring serves both versions")
            .with_root_certificates(roots);
        let mut config = match &self.client {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(read_chain(&pair.cert), read_key(&pair.key))
                .expect("a client certificate and its key"),
        };
        config.alpn_protocols = self.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        config.enable_sni = self.name.is_some();
        Arc::new(config)
    }
}

/// The certificates of a PEM file.
///
/// # Panics
/// When it cannot be read.
pub fn read_chain(path: &std::path::Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The private key of a PEM file.
///
/// # Panics
/// When it cannot be read.
pub fn read_key(path: &std::path::Path) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The ClientHello of a client with this server name.
///
/// # Panics
/// When the name is none.
pub fn hello(name: &str) -> Vec<u8> {
    let server = ServerName::try_from(name.to_owned()).expect("a DNS name");
    let config = TlsOptions::name(name).config();
    let mut tls = ClientConnection::new(config, server).expect("a TLS client");
    let mut bytes = Vec::new();
    tls.write_tls(&mut bytes).expect("a vector takes everything");
    bytes
}

/// A connection to the proxy, or to any other server.
#[derive(Debug)]
pub struct Raw {
    wire: Wire,
    received: Vec<u8>,
}

/// The result of a connection.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The received bytes.
    pub bytes: Vec<u8>,
    /// The way in which the connection ended.
    pub end: End,
}

impl Answer {
    /// The first response in the bytes.
    ///
    /// # Panics
    /// When there is none.
    pub fn response(&self) -> Response {
        Response::parse(&self.bytes).unwrap_or_else(|| panic!("no response in {self:?}"))
    }

    /// The number of responses, each with a body of known length.
    ///
    /// # Panics
    /// When something else stands between or behind them.
    pub fn responses(&self) -> usize {
        let (mut rest, mut count) = (self.bytes.as_slice(), 0);
        while !rest.is_empty() {
            let response =
                Response::parse(rest).unwrap_or_else(|| panic!("not a response in {self:?}"));
            let length = response.header("content-length").and_then(|v| v.parse().ok());
            rest = response
                .body
                .len()
                .checked_sub(length.unwrap_or(0))
                .map_or(&[][..], |left| &rest[rest.len() - left..]);
            count += 1;
        }
        count
    }
}

impl Raw {
    /// Connects without TLS.
    ///
    /// # Panics
    /// When the connection is refused.
    pub fn tcp(address: SocketAddr) -> Self {
        let tcp = TcpStream::connect_timeout(&address, DEADLINE)
            .unwrap_or_else(|error| panic!("connect to {address}: {error}"));
        Self::over(tcp)
    }

    /// Wraps an accepted connection without TLS.
    pub fn over(tcp: TcpStream) -> Self {
        Self { wire: Wire::plain(Arc::new(tcp)), received: Vec::new() }
    }

    /// Connects and completes a TLS handshake.
    ///
    /// # Panics
    /// When either fails.
    pub fn tls(address: SocketAddr, name: &str) -> Self {
        Self::try_tls(address, &TlsOptions::name(name).alpn("http/1.1"))
            .unwrap_or_else(|end| panic!("handshake with {address} as {name}: {end:?}"))
    }

    /// Connects and tries a TLS handshake.
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    pub fn try_tls(address: SocketAddr, options: &TlsOptions) -> Result<Self, End> {
        Self::tls_with(address, options.name.as_deref(), &options.config())
    }

    /// Connects and tries a TLS handshake with a configuration that may hold sessions.
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    pub fn tls_with(
        address: SocketAddr,
        name: Option<&str>,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, End> {
        let server = ServerName::try_from(name.unwrap_or("localhost").to_owned())
            .unwrap_or_else(|error| panic!("{name:?}: {error}"));
        let tls = ClientConnection::new(Arc::clone(config), server).expect("a TLS client");
        Self::secure(Self::tcp(address).wire.secured(tls))
    }

    /// Like [`Raw::tls`], with every byte of TLS in its own segment and handshake messages split
    /// over records of this size.
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    ///
    /// # Panics
    /// When the connection is refused.
    pub fn dribble(address: SocketAddr, name: &str, record: usize) -> Result<Self, End> {
        let mut config = TlsOptions::name(name).config();
        Arc::make_mut(&mut config).max_fragment_size = Some(record);
        let server = ServerName::try_from(name.to_owned()).expect("a DNS name");
        let tls = ClientConnection::new(config, server).expect("a TLS client");
        Self::secure(Self::tcp(address).wire.in_pieces(1).secured(tls))
    }

    /// Begins TLS on a connection of [`Raw::tcp`].
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    ///
    /// # Panics
    /// When the name is none.
    pub fn start_tls(self, name: &str) -> Result<Self, End> {
        self.start_tls_with(name, &TlsOptions::name(name).config())
    }

    /// Like [`Raw::start_tls`], with a configuration that may hold sessions.
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    ///
    /// # Panics
    /// When the name is none.
    pub fn start_tls_with(self, name: &str, config: &Arc<ClientConfig>) -> Result<Self, End> {
        let server = ServerName::try_from(name.to_owned()).expect("a DNS name");
        let tls = ClientConnection::new(Arc::clone(config), server).expect("a TLS client");
        Self::secure(self.wire.secured(tls))
    }

    /// Like [`Raw::start_tls`], with the hello in two segments, split at the position that `at`
    /// returns.
    ///
    /// # Errors
    /// How the connection ended, if it did so in the handshake.
    ///
    /// # Panics
    /// When the name is none.
    pub fn start_tls_split(
        mut self,
        name: &str,
        config: &Arc<ClientConfig>,
        at: impl Fn(&[u8]) -> usize,
    ) -> Result<Self, End> {
        let server = ServerName::try_from(name.to_owned()).expect("a DNS name");
        let mut tls = ClientConnection::new(Arc::clone(config), server).expect("a TLS client");
        let mut hello = Vec::new();
        tls.write_tls(&mut hello).expect("a vector takes everything");
        let (first, rest) = hello.split_at(at(&hello));
        self.send_raw(first).send_raw(rest);
        Self::secure(self.wire.secured(tls))
    }

    fn secure(mut wire: Wire) -> Result<Self, End> {
        wire.handshake().map_err(|error| End::of(&error))?;
        Ok(Self { wire, received: Vec::new() })
    }

    /// The certificate of the server, in DER.
    ///
    /// # Panics
    /// When there is none.
    pub fn server_certificate(&self) -> CertificateDer<'static> {
        let chain = self.session().peer_certificates().expect("a chain of the server");
        chain.first().expect("a chain has a leaf").clone().into_owned()
    }

    /// Whether a TLS session was resumed.
    pub fn was_resumed(&self) -> bool {
        self.session().handshake_kind() == Some(rustls::HandshakeKind::Resumed)
    }

    /// The TLS connection.
    ///
    /// # Panics
    /// When there is none.
    pub fn session(&self) -> &rustls::Connection {
        self.wire.tls().expect("a TLS connection")
    }

    /// Sets how long a read waits.
    pub fn set_read_timeout(&self, timeout: Duration) {
        self.wire.set_read_timeout(timeout);
    }

    /// Sends bytes; a read detects that the peer has gone.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.write_all(bytes.as_ref());
        self
    }

    /// Sends bytes outside TLS.
    pub fn send_raw(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.send_raw(bytes.as_ref());
        self
    }

    /// Sends bytes, or reports that the peer does not accept them.
    ///
    /// # Errors
    /// What the socket says.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.wire.write_all(bytes.as_ref())
    }

    /// Ends the sending direction.
    pub fn finish(&mut self) -> &mut Self {
        self.wire.finish();
        self
    }

    /// Sends bytes and then `close_notify` without `FIN`: this side sends no more, and reads on.
    ///
    /// # Panics
    /// When there is no TLS.
    pub fn send_last(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.wire.send_last(bytes.as_ref());
        self
    }

    /// Sends `FIN` without `close_notify`.
    pub fn truncate(&mut self) -> &mut Self {
        self.wire.truncate();
        self
    }

    /// Ends the connection with a reset.
    pub fn reset(self) {
        self.wire.reset();
    }

    /// Receives until the peer ends the connection.
    pub fn to_end(mut self) -> Answer {
        let (bytes, end) = self.wire.drain();
        self.received.extend_from_slice(&bytes);
        Answer { bytes: self.received, end }
    }

    /// Receives until the bytes contain `text`, and returns everything up to its end.
    ///
    /// # Panics
    /// When the connection ends or the deadline passes first.
    pub fn until(&mut self, text: &str) -> String {
        let mut buffer = [0; 16 * 1024];
        loop {
            let found = self.received.windows(text.len()).position(|w| w == text.as_bytes());
            if let Some(start) = found {
                let taken: Vec<u8> = self.received.drain(..start + text.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            match self.wire.read(&mut buffer) {
                Ok(n) if n > 0 => self.received.extend_from_slice(&buffer[..n]),
                ended => {
                    let so_far = String::from_utf8_lossy(&self.received);
                    panic!("{ended:?} before {text:?}; received {so_far:?}");
                }
            }
        }
    }

    /// Receives one response whose body has a `Content-Length`.
    ///
    /// # Panics
    /// As [`Raw::until`].
    pub fn response(&mut self) -> Response {
        let head = self.until("\r\n\r\n");
        let mut response =
            Response::parse(head.as_bytes()).unwrap_or_else(|| panic!("not a response: {head:?}"));
        let length = response.header("content-length").and_then(|v| v.parse().ok()).unwrap_or(0);
        response.body = self.exactly(length);
        response
    }

    /// Receives this many bytes.
    ///
    /// # Panics
    /// When the connection ends or the deadline passes first.
    pub fn exactly(&mut self, length: usize) -> Vec<u8> {
        let mut buffer = [0; 16 * 1024];
        while self.received.len() < length {
            match self.wire.read(&mut buffer) {
                Ok(n) if n > 0 => self.received.extend_from_slice(&buffer[..n]),
                ended => panic!("{ended:?} after {} of {length} bytes", self.received.len()),
            }
        }
        self.received.drain(..length).collect()
    }
}
