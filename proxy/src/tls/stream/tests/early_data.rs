//! Clients that resume with early data, by the ticket of a server that was here before and took it.

use rustls::server::ServerSessionMemoryCache;

use super::*;

/// A server that takes early data.
fn former_server(pki: &Pki) -> Arc<ServerConfig> {
    let mut config = pki.server_config();
    config.max_early_data_size = 64 * 1024;
    config.session_storage = ServerSessionMemoryCache::new(10);
    config.send_half_rtt_data = false;
    Arc::new(config)
}

/// This server. A second group of a client makes it ask for a second hello.
fn this_server(pki: &Pki, groups: &[rustls::NamedGroup]) -> Arc<ServerConfig> {
    let mut provider = (**crate::tls::provider::provider()).clone();
    provider.kx_groups.retain(|group| groups.contains(&group.name()));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![pki.certificate.clone()], pki.key.clone_key())
        .unwrap();
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Arc::new(config)
}

/// A client with a ticket of the former server.
fn client_with_ticket(pki: &Pki) -> Arc<ClientConfig> {
    let mut config = Arc::unwrap_or_clone(pki.client(&TLS13));
    config.enable_early_data = true;
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (former, config_of_former) = (listener.accept().unwrap().0, former_server(pki));
    let server = thread::spawn(move || {
        let connection = ServerConnection::new(config_of_former).unwrap();
        let mut tls = StreamOwned::new(connection, former);
        tls.write_all(b"x").unwrap();
        tls.flush().unwrap();
    });
    let connection = ClientConnection::new(Arc::clone(&config), name()).unwrap();
    StreamOwned::new(connection, peer).read_exact(&mut [0]).unwrap();
    server.join().unwrap();
    config
}

/// Sends early data in records of these sizes, then "hello" once the handshake is done; returns what
/// the server read. The client's handshake fails if the server's does.
fn read_after_early_data(
    sizes: &[usize],
    segment: Option<usize>,
    groups: &[rustls::NamedGroup],
) -> Result<Vec<u8>, HandshakeError> {
    let pki = Pki::new();
    let config = client_with_ticket(&pki);
    let (peer, ours) = segment.map_or_else(pair, chopped);
    let sizes = sizes.to_vec();
    let client = thread::spawn(move || {
        let mut connection = ClientConnection::new(config, name()).unwrap();
        for size in sizes {
            let mut early = connection.early_data().expect("the ticket allows early data");
            assert_eq!(early.write(&pattern(size)).unwrap(), size);
        }
        let mut tls = StreamOwned::new(connection, peer);
        // An error is the server's to report.
        let _ = tls.write_all(b"hello").and_then(|()| tls.flush());
        assert!(!tls.conn.is_early_data_accepted());
        tls.conn.send_close_notify();
        let _ = tls.flush();
    });
    let read = block_on(async {
        let mut tls =
            accept_after_hello(ours, this_server(&pki, groups)).await.map_err(|f| f.error)?;
        Ok(read_all(&mut tls).await.unwrap())
    });
    client.join().unwrap();
    read
}

const ANY: &[rustls::NamedGroup] = &[rustls::NamedGroup::X25519, rustls::NamedGroup::secp256r1];
/// The client has it, and sends no share of it at first.
const SECOND: &[rustls::NamedGroup] = &[rustls::NamedGroup::secp384r1];

#[test]
fn early_data_for_another_server_is_skipped() {
    for groups in [ANY, SECOND] {
        for (sizes, segment) in [
            (&[1000][..], None),
            (&[5000], None),
            (&[12_000], None),
            (&[16_384], None),
            (&[6000, 6000], None),
            (&[2000], Some(200)),
            (&[500; 12], Some(505)),
            (&[1000; 16], Some(7)),
            (&[1; 500], None),
        ] {
            let read = read_after_early_data(sizes, segment, groups);
            assert_eq!(read.unwrap(), b"hello", "{} records, {segment:?}", sizes.len());
        }
    }
}

#[test]
fn more_early_data_than_any_ticket_allows_ends_the_handshake() {
    let error = read_after_early_data(&[16_000; 4], None, ANY).unwrap_err();
    assert!(matches!(error, HandshakeError::Tls(Error::DecryptError)), "{error:?}");
}
