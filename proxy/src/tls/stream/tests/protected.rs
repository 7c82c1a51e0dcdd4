//! Alerts for protected records of TLS 1.3 that no TLS library would send. A rustls client does the
//! handshake; its keys are taken from its key log, and the rest is made here.

use std::sync::Mutex;

use ring::{aead, hkdf};
use rustls::{CipherSuite, KeyLog, crypto::CryptoProvider};

use super::{hello::message, *};

const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const DECODE_ERROR: u8 = 50;
const DECRYPT_ERROR: u8 = 51;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;
const KEY_UPDATE: u8 = 24;

/// The secrets of one connection, by label.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push((label.to_owned(), secret.to_vec()));
    }
}

/// The keys of one direction of TLS_AES_128_GCM_SHA256.
struct Keys {
    key: aead::LessSafeKey,
    iv: Vec<u8>,
    count: u64,
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

impl Keys {
    fn new(secrets: &Secrets, label: &str) -> Keys {
        let secrets = secrets.0.lock().unwrap();
        let (_, secret) = secrets.iter().find(|(known, _)| known == label).unwrap();
        let key = aead::UnboundKey::new(&aead::AES_128_GCM, &expand(secret, b"tls13 key", 16));
        let iv = expand(secret, b"tls13 iv", 12);
        Keys { key: aead::LessSafeKey::new(key.unwrap()), iv, count: 0 }
    }

    fn nonce(&mut self) -> aead::Nonce {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.count.to_be_bytes());
        nonce.iter_mut().zip(&self.iv).for_each(|(byte, iv)| *byte ^= iv);
        self.count += 1;
        aead::Nonce::assume_unique_for_key(nonce)
    }

    /// A record with this TLSInnerPlaintext.
    fn seal(&mut self, inner: &[u8]) -> Vec<u8> {
        let mut sealed = inner.to_vec();
        let header = header(inner.len() + 16);
        let nonce = self.nonce();
        self.key.seal_in_place_append_tag(nonce, aead::Aad::from(header), &mut sealed).unwrap();
        [&header[..], &sealed].concat()
    }

    fn seal_content(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        self.seal(&[content, &[kind]].concat())
    }

    /// The content and its type.
    fn open(&mut self, mut payload: Vec<u8>) -> (u8, Vec<u8>) {
        let nonce = self.nonce();
        let header = aead::Aad::from(header(payload.len()));
        let inner = self.key.open_in_place(nonce, header, &mut payload).unwrap();
        let end = inner.iter().rposition(|byte| *byte != 0).unwrap();
        (inner[end], inner[..end].to_vec())
    }
}

fn header(length: usize) -> [u8; 5] {
    let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
    [DATA, 3, 3, high, low]
}

fn expand(secret: &[u8], label: &[u8], length: usize) -> Vec<u8> {
    let info = [&[0, length as u8, label.len() as u8][..], label, &[0]].concat();
    let secret = hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, secret);
    let mut out = vec![0; length];
    secret.expand(&[&info], Length(length)).unwrap().fill(&mut out).unwrap();
    out
}

/// A client that has the server's flight, and has not sent its Finished.
struct Halfway {
    peer: TcpStream,
    secrets: Arc<Secrets>,
    /// change_cipher_spec and the Finished record.
    flight: Vec<u8>,
}

impl Halfway {
    fn new(mut peer: TcpStream, mut config: ClientConfig) -> Halfway {
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::<Secrets>::clone(&secrets);
        let mut connection = ClientConnection::new(Arc::new(config), name()).unwrap();
        connection.write_tls(&mut peer).unwrap();
        while connection.is_handshaking() {
            connection.read_tls(&mut peer).unwrap();
            connection.process_new_packets().unwrap();
        }
        let mut flight = Vec::new();
        connection.write_tls(&mut flight).unwrap();
        Halfway { peer, secrets, flight }
    }

    /// The Finished message, and the keys that sealed it.
    fn finished(&self) -> (Vec<u8>, Keys) {
        let sealed = self.flight[6 + 5..].to_vec();
        let (kind, finished) =
            Keys::new(&self.secrets, "CLIENT_HANDSHAKE_TRAFFIC_SECRET").open(sealed);
        assert_eq!((kind, finished[0]), (HANDSHAKE, 20));
        (finished, Keys::new(&self.secrets, "CLIENT_HANDSHAKE_TRAFFIC_SECRET"))
    }

    /// Sends this in place of the Finished.
    fn instead(mut self, make: impl Fn(&[u8], &mut Keys) -> Vec<u8>) -> Vec<u8> {
        let (finished, mut keys) = self.finished();
        let bytes = make(&finished, &mut keys);
        self.peer.write_all(&bytes).unwrap();
        self.alerts()
    }

    /// Sends this after the Finished.
    fn afterwards(mut self, make: impl Fn(&mut Keys) -> Vec<u8>) -> Vec<u8> {
        let mut keys = Keys::new(&self.secrets, "CLIENT_TRAFFIC_SECRET_0");
        self.flight.extend(make(&mut keys));
        self.peer.write_all(&self.flight).unwrap();
        self.alerts()
    }

    /// The alerts until the end of the connection.
    fn alerts(mut self) -> Vec<u8> {
        let mut keys = Keys::new(&self.secrets, "SERVER_TRAFFIC_SECRET_0");
        let mut alerts = Vec::new();
        while let Some((kind, payload)) = next_record(&mut self.peer) {
            assert_eq!(kind, DATA, "an alert in the clear: {payload:?}");
            let (kind, content) = keys.open(payload);
            if kind == ALERT {
                assert_eq!((content[0], content.len()), (2, 2));
                alerts.push(content[1]);
            }
        }
        alerts
    }
}

/// The alerts for what a client does once it has the server's flight.
fn alerts(act: impl FnOnce(Halfway) -> Vec<u8> + Send + 'static) -> Vec<u8> {
    let pki = Pki::new();
    let (peer, ours) = pair();
    let mut roots = RootCertStore::empty();
    roots.add(pki.certificate.clone()).unwrap();
    let mut suites = (*provider()).clone();
    suites.cipher_suites.retain(|suite| suite.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    let suites: CryptoProvider = suites;
    let config = ClientConfig::builder_with_provider(Arc::new(suites))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = thread::spawn(move || act(Halfway::new(peer, config)));
    block_on(async {
        match accept_after_hello(ours, pki.server()).await {
            Ok(mut tls) => {
                read_all(&mut tls).await.unwrap_err();
                let _ = close(&mut tls).await;
                client.join().unwrap()
            }
            Err(mut failed) => {
                poll_fn(|cx| failed.stream.poll_flush(cx)).await.unwrap();
                poll_fn(|cx| failed.stream.poll_sent(cx)).await.unwrap();
                failed.stream.shutdown_write();
                client.join().unwrap()
            }
        }
    })
}

#[test]
fn a_record_of_padding_only_gets_unexpected_message() {
    for padding in [1, 16] {
        let before = alerts(move |client| client.instead(|_, keys| keys.seal(&vec![0; padding])));
        assert_eq!(before, [UNEXPECTED_MESSAGE], "before Finished");
        let after = alerts(move |client| client.afterwards(|keys| keys.seal(&vec![0; padding])));
        assert_eq!(after, [UNEXPECTED_MESSAGE], "after Finished");
    }
}

#[test]
fn too_many_empty_records_get_unexpected_message() {
    let empty = |keys: &mut Keys| (0..40).flat_map(|_| keys.seal_content(DATA, &[])).collect();
    assert_eq!(alerts(move |client| client.afterwards(empty)), [UNEXPECTED_MESSAGE]);
}

#[test]
fn an_ordinary_error_gets_the_one_alert_of_rustls() {
    let hello = |keys: &mut Keys| keys.seal_content(HANDSHAKE, &message(1, &[]));
    assert_eq!(alerts(move |client| client.afterwards(hello)), [DECODE_ERROR]);
    let alert = alerts(|client| {
        client.instead(|finished, keys| {
            let mut wrong = finished.to_vec();
            wrong[4] ^= 1;
            keys.seal_content(HANDSHAKE, &wrong)
        })
    });
    assert_eq!(alert, [DECRYPT_ERROR]);
}

/// Alerts that are not those of the standard, and that only rustls could change, since they are sent
/// under its keys. If one of them is right here, a better rustls is in use: move the case up, and
/// shorten the list in docs/security.md.
#[test]
fn what_only_rustls_can_answer_better_is_as_documented() {
    let half = message(KEY_UPDATE, &[0])[..2].to_vec();
    let interleaved = alerts(move |client| {
        client.afterwards(|keys| {
            [keys.seal_content(HANDSHAKE, &half), keys.seal_content(DATA, b"data")].concat()
        })
    });
    assert_eq!(interleaved, [DECODE_ERROR], "data within a message: unexpected_message is right");

    let empty_alert = alerts(|client| client.afterwards(|keys| keys.seal_content(ALERT, &[])));
    assert_eq!(empty_alert, [DECODE_ERROR], "an empty alert: unexpected_message is right");

    let in_the_clear =
        alerts(|client| client.instead(|finished, _| hello::record(HANDSHAKE, finished)));
    assert_eq!(
        in_the_clear,
        [BAD_RECORD_MAC],
        "Finished in the clear: unexpected_message is right"
    );

    let longer = alerts(|client| {
        client.instead(|finished, keys| {
            keys.seal_content(HANDSHAKE, &message(20, &[&finished[4..], &[0]].concat()))
        })
    });
    assert_eq!(longer, [DECRYPT_ERROR], "a longer Finished: decode_error is right");

    let overlong = alerts(|client| {
        client.afterwards(|_| [&header((1 << 14) + 300)[..], &[1; (1 << 14) + 300]].concat())
    });
    assert_eq!(overlong, [BAD_RECORD_MAC], "a record over 2^14 + 256: record_overflow is right");
}
