//! Tests the stream against rustls's buffered API, which drives the same protocol in another way,
//! over real sockets.

mod alerts;
mod early_data;
mod hello;
mod protected;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::OwnedFd,
    sync::{Arc, mpsc},
    thread,
};

use hyper::rt::ReadBuf;
use portcullis_abi::{Progress, Reassembler};
use rustls::{
    ClientConnection, RootCertStore, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer},
    version::{TLS12, TLS13},
};

use super::*;

const NAME: &str = "server.test";

struct Pki {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Pki {
    fn new() -> Pki {
        let made = rcgen::generate_simple_self_signed([NAME.to_string()]).unwrap();
        Pki {
            certificate: made.cert.der().clone(),
            key: PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap(),
        }
    }

    fn server(&self) -> Arc<ServerConfig> {
        Arc::new(self.server_config())
    }

    fn server_config(&self) -> ServerConfig {
        let provider = Arc::clone(crate::tls::provider::provider());
        ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS12, &TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], self.key.clone_key())
            .unwrap()
    }

    fn client(&self, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn name() -> ServerName<'static> {
    ServerName::try_from(NAME).unwrap()
}

fn pair() -> (TcpStream, rt::Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    (peer, rt::Stream::new(OwnedFd::from(ours)))
}

fn block_on<F: Future>(future: F) -> F::Output {
    rt::Runtime::new().unwrap().block_on(future)
}

async fn accept(stream: rt::Stream, pki: &Pki) -> Result<TlsStream, Box<FailedHandshake>> {
    let context = ConnectionContext::new(Some(NAME));
    TlsStream::accept(stream, Buffer::default(), pki.server(), context).await
}

/// As a connection does it: the whole hello is read before rustls sees any of it.
async fn accept_after_hello(
    mut stream: rt::Stream,
    config: Arc<ServerConfig>,
) -> Result<TlsStream, Box<FailedHandshake>> {
    let mut received = Buffer::default();
    let mut reassembler = Reassembler::default();
    while let Progress::NeedMore { .. } = reassembler.advance(received.filled()) {
        if poll_fn(|cx| stream.poll_recv(cx, &mut received, 4096)).await.unwrap() == 0 {
            break;
        }
    }
    TlsStream::accept(stream, received, config, ConnectionContext::new(Some(NAME))).await
}

/// The next record's type and payload; `None` at the end.
fn next_record(peer: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 5];
    peer.read_exact(&mut header).ok()?;
    let mut payload = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    peer.read_exact(&mut payload).ok()?;
    Some((header[0], payload))
}

/// Reads until the end.
async fn read_all(tls: &mut TlsStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    loop {
        let n = read_some(tls, &mut all, 7000).await?;
        if n == 0 {
            return Ok(all);
        }
    }
}

async fn read_some(tls: &mut TlsStream, into: &mut Vec<u8>, room: usize) -> io::Result<usize> {
    let mut storage = vec![0; room];
    let mut buffer = ReadBuf::new(&mut storage);
    poll_fn(|cx| Pin::new(&mut *tls).poll_read(cx, buffer.unfilled())).await?;
    into.extend_from_slice(buffer.filled());
    Ok(buffer.filled().len())
}

async fn write_all(tls: &mut TlsStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *tls).poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    poll_fn(|cx| Pin::new(&mut *tls).poll_flush(cx)).await
}

async fn close(tls: &mut TlsStream) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *tls).poll_shutdown(cx)).await
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 % 251) as u8).collect()
}

/// Forwards bytes in pieces of `size`, each in its own segment.
fn chopped(size: usize) -> (TcpStream, rt::Stream) {
    let (inner, ours) = pair();
    inner.set_nodelay(true).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (outer, _) = listener.accept().unwrap();
    let forward = |mut from: TcpStream, mut to: TcpStream| {
        thread::spawn(move || {
            let mut chunk = vec![0; size];
            while let Ok(n) = from.read(&mut chunk)
                && n > 0
                && to.write_all(&chunk[..n]).is_ok()
            {}
            let _ = to.shutdown(Shutdown::Write);
        });
    };
    forward(outer.try_clone().unwrap(), inner.try_clone().unwrap());
    forward(inner, outer);
    (peer, ours)
}

fn echo_over(
    peer: TcpStream,
    ours: rt::Stream,
    version: &'static rustls::SupportedProtocolVersion,
) {
    let pki = Pki::new();
    let config = pki.client(version);
    let client = thread::spawn(move || {
        let connection = ClientConnection::new(config, name()).unwrap();
        let mut tls = StreamOwned::new(connection, peer);
        // Finished and request leave together.
        tls.write_all(&pattern(1000)).unwrap();
        let mut reply = vec![0; 1000];
        tls.read_exact(&mut reply).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        reply
    });
    block_on(async {
        let mut tls = accept(ours, &pki).await.unwrap();
        let mut request = Vec::new();
        while request.len() < 1000 {
            assert_ne!(read_some(&mut tls, &mut request, 64).await.unwrap(), 0);
        }
        write_all(&mut tls, &request).await.unwrap();
        assert_eq!(read_all(&mut tls).await.unwrap(), b"");
        close(&mut tls).await.unwrap();
    });
    assert_eq!(client.join().unwrap(), pattern(1000));
}

#[test]
fn a_request_that_comes_with_finished_is_read() {
    for version in [&TLS12, &TLS13] {
        let (peer, ours) = pair();
        echo_over(peer, ours, version);
    }
}

#[test]
fn records_may_be_cut_anywhere() {
    for version in [&TLS12, &TLS13] {
        for size in [1, 2, 3, 7, 100] {
            let (peer, ours) = chopped(size);
            echo_over(peer, ours, version);
        }
    }
}

#[test]
fn bulk_flows_both_ways_at_once() {
    const BYTES: usize = 5_000_000;
    let pki = Pki::new();
    let (peer, ours) = pair();
    let config = pki.client(&TLS13);
    let client = thread::spawn(move || {
        let connection = ClientConnection::new(config, name()).unwrap();
        let mut tls = StreamOwned::new(connection, peer);
        tls.write_all(&pattern(BYTES)).unwrap();
        tls.conn.send_close_notify();
        tls.flush().unwrap();
        let mut reply = Vec::new();
        tls.read_to_end(&mut reply).unwrap();
        reply
    });
    block_on(async {
        let mut tls = accept(ours, &pki).await.unwrap();
        let mut moved = 0;
        // Each piece is echoed as soon as it arrives.
        loop {
            let mut piece = Vec::new();
            if read_some(&mut tls, &mut piece, 50_000).await.unwrap() == 0 {
                break;
            }
            moved += piece.len();
            write_all(&mut tls, &piece).await.unwrap();
        }
        assert_eq!(moved, BYTES);
        close(&mut tls).await.unwrap();
    });
    assert_eq!(client.join().unwrap(), pattern(BYTES));
}

#[test]
fn the_client_side_speaks_with_a_server() {
    for version in [&TLS12, &TLS13] {
        let pki = Pki::new();
        let (peer, ours) = pair();
        let config = pki.server();
        let server = thread::spawn(move || {
            let mut tls = StreamOwned::new(ServerConnection::new(config).unwrap(), peer);
            let mut request = vec![0; 5];
            tls.read_exact(&mut request).unwrap();
            tls.write_all(&request).unwrap();
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        });
        block_on(async {
            let mut tls = TlsStream::connect(ours, pki.client(version), name()).await.unwrap();
            write_all(&mut tls, b"hello").await.unwrap();
            assert_eq!(read_all(&mut tls).await.unwrap(), b"hello");
        });
        server.join().unwrap();
    }
}

/// A connection to which the client has sent `count` records of one byte each, after the handshake.
async fn with_small_records(count: usize) -> (TlsStream, impl Sized) {
    let pki = Pki::new();
    let (peer, ours) = pair();
    peer.set_nodelay(true).unwrap();
    let config = pki.client(&TLS13);
    let (accepted, is_accepted) = mpsc::channel();
    let client = thread::spawn(move || {
        let mut tls = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), peer);
        tls.flush().unwrap();
        tls.conn.complete_io(&mut tls.sock).unwrap();
        is_accepted.recv().unwrap();
        for byte in pattern(count) {
            tls.write_all(&[byte]).unwrap();
        }
        tls
    });
    let tls = accept(ours, &pki).await.unwrap();
    accepted.send(()).unwrap();
    (tls, client.join().unwrap())
}

#[test]
fn a_small_record_costs_more_of_the_allowance_than_its_bytes() {
    block_on(async {
        let (mut tls, _client) = with_small_records(200).await;
        poll_fn(|cx| tls.stream.poll_readable(cx)).await.unwrap();
        let before = rt::allowance_left();
        let mut bytes = Vec::new();
        let read = read_some(&mut tls, &mut bytes, 7000).await.unwrap();
        let spent = before - rt::allowance_left();
        // A receive costs 1,024 by itself.
        assert!(spent >= 1024 + 256 * read, "{spent} for {read} records");
    });
}

#[test]
fn an_observer_is_shown_what_is_read() {
    block_on(async {
        let (mut tls, _client) = with_small_records(100).await;
        let (mut read, mut seen) = (Vec::new(), Vec::new());
        while read.len() < 100 {
            let mut storage = [0; 7];
            let mut buffer = ReadBuf::new(&mut storage);
            let mut observe = |bytes: &[u8]| seen.extend_from_slice(bytes);
            poll_fn(|cx| tls.poll_read_observed(cx, buffer.unfilled(), &mut observe))
                .await
                .unwrap();
            read.extend_from_slice(buffer.filled());
        }
        assert_eq!((&read, &seen), (&pattern(100), &pattern(100)));
    });
}

#[test]
fn an_end_without_close_notify_is_an_error() {
    let pki = Pki::new();
    let (peer, ours) = pair();
    let config = pki.client(&TLS13);
    let client = thread::spawn(move || {
        let mut tls = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), peer);
        tls.write_all(b"half").unwrap();
        tls.sock.shutdown(Shutdown::Both).unwrap();
    });
    block_on(async {
        let mut tls = accept(ours, &pki).await.unwrap();
        let error = read_all(&mut tls).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    });
    client.join().unwrap();
}

fn alert_for(hello: &[u8]) -> u8 {
    let pki = Pki::new();
    let (mut peer, ours) = pair();
    peer.write_all(hello).unwrap();
    block_on(async {
        let mut failed = accept(ours, &pki).await.unwrap_err();
        assert!(matches!(failed.error, HandshakeError::Tls(_)), "{:?}", failed.error);
        poll_fn(|cx| failed.stream.poll_flush(cx)).await.unwrap();
        poll_fn(|cx| failed.stream.poll_sent(cx)).await.unwrap();
        failed.stream.shutdown_write();
    });
    let mut alert = Vec::new();
    peer.read_to_end(&mut alert).unwrap();
    assert_eq!(alert[..6], [21, 3, 3, 0, 2, 2], "a fatal alert: {alert:?}");
    alert[6]
}

#[test]
fn a_refused_handshake_leaves_its_alert_to_be_sent() {
    assert_eq!(alert_for(b"no TLS at all"), 50, "decode_error");
    assert_eq!(alert_for(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"), 50, "a cut ServerHello");
    assert_eq!(alert_for(b"\x16\x03\x01\x00\x04\x01\xff\xff\xff"), 50, "a hello of 16 MiB");
    assert_eq!(alert_for(b"\x17\x03\x03\x00\x05early"), 10, "unexpected_message");
}

#[test]
fn a_corrupted_record_is_answered_with_bad_record_mac() {
    let pki = Pki::new();
    let (peer, ours) = pair();
    let config = pki.client(&TLS13);
    let client = thread::spawn(move || {
        let mut tls = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), peer);
        tls.write_all(b"fine").unwrap();
        tls.flush().unwrap();
        tls.sock.write_all(&[23, 3, 3, 0, 32]).unwrap();
        tls.sock.write_all(&[0; 32]).unwrap();
        tls.read_to_end(&mut Vec::new()).unwrap_err().to_string()
    });
    block_on(async {
        let mut tls = accept(ours, &pki).await.unwrap();
        let error = read_all(&mut tls).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let _ = close(&mut tls).await;
    });
    let said = client.join().unwrap();
    assert!(said.contains("BadRecordMac"), "{said}");
}

#[test]
fn writing_with_half_a_handshake_message_received_does_no_harm() {
    // A KeyUpdate cut in two records, with a write of ours between: rustls must see the first half
    // again, and whole.
    let pki = Pki::new();
    let (peer, ours) = chopped(1);
    let config = pki.client(&TLS13);
    let client = thread::spawn(move || {
        let mut tls = StreamOwned::new(ClientConnection::new(config, name()).unwrap(), peer);
        tls.write_all(b"x").unwrap();
        for _ in 0..20 {
            tls.conn.refresh_traffic_keys().unwrap();
            tls.write_all(b"y").unwrap();
        }
        let mut echoed = vec![0; 21];
        tls.read_exact(&mut echoed).unwrap();
        echoed
    });
    block_on(async {
        let mut tls = accept(ours, &pki).await.unwrap();
        let mut echoed = 0;
        while echoed < 21 {
            let mut piece = Vec::new();
            assert_ne!(read_some(&mut tls, &mut piece, 1).await.unwrap(), 0);
            echoed += piece.len();
            write_all(&mut tls, &piece).await.unwrap();
        }
        close(&mut tls).await.unwrap();
    });
    assert_eq!(client.join().unwrap().len(), 21);
}

#[test]
fn a_dropped_stream_resets_its_connection_with_a_read_in_flight() {
    let (mut peer, ours) = pair();
    block_on(async {
        let mut ours = ours;
        ours.outgoing().extend_from_slice(b"?");
        poll_fn(|cx| ours.poll_flush(cx)).await.unwrap();
        let mut buffer = Buffer::default();
        let pending = poll_fn(|cx| Poll::Ready(ours.poll_recv(cx, &mut buffer, 100).is_pending()));
        assert!(pending.await);
        drop(ours);
        let end = thread::spawn(move || {
            peer.read_exact(&mut [0; 1]).unwrap();
            peer.read(&mut [0; 1]).map_err(|error| error.kind())
        });
        assert_eq!(end.join().unwrap(), Err(io::ErrorKind::ConnectionReset));
    });
}
