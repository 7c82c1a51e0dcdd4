//! Hellos of real clients, captured on the wire (`hellos/README.md` says how).

use std::sync::Arc;

use portcullis_abi::{HostName, Outcome, Progress, client_hello, sni};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::oracle;

const NAME: &str = "app.example.com";

const CAPTURED: [(&str, &[u8]); 5] = [
    ("openssl s_client", include_bytes!("hellos/openssl.bin")),
    ("openssl s_client, TLS 1.2 only", include_bytes!("hellos/openssl-tls12.bin")),
    ("openssl s_client with a ticket", include_bytes!("hellos/openssl-resumed.bin")),
    ("curl", include_bytes!("hellos/curl.bin")),
    ("Python's ssl", include_bytes!("hellos/python.bin")),
];

#[test]
fn the_name_is_read_from_every_captured_hello() {
    for (client, hello) in CAPTURED {
        assert_eq!(both_names(hello), (Some(NAME.into()), Some(NAME.into())), "{client}");
        oracle::compare(hello);
    }
}

#[test]
fn openssl_without_a_name_has_none() {
    let hello = include_bytes!("hellos/openssl-noservername.bin");
    assert_eq!(both_names(hello), (None, None));
    oracle::compare(hello);
}

#[test]
fn the_name_is_read_from_what_rustls_sends() {
    for name in [NAME, "xn--bcher-kva.example", "a.b.c.d.e.f.example", "localhost"] {
        let hello = rustls_hello(name);
        assert_eq!(both_names(&hello), (Some(name.into()), Some(name.into())));
        oracle::compare(&hello);
    }
}

#[test]
fn rustls_sends_no_name_for_an_address() {
    for address in ["192.0.2.1", "2001:db8::1"] {
        assert_eq!(both_names(&rustls_hello(address)), (None, None));
    }
}

/// The name that user space and the kernel read.
fn both_names(hello: &[u8]) -> (Option<String>, Option<String>) {
    let Progress::Complete { name: in_user_space, consumed } = client_hello(hello) else {
        panic!("{:?}", client_hello(hello))
    };
    assert_eq!(consumed, hello.len());
    let mut name = HostName::EMPTY;
    let in_kernel = match sni(hello, 0, &mut name) {
        Outcome::Name => Some(name.to_string()),
        Outcome::NoName => None,
        other => panic!("{other:?}"),
    };
    (in_user_space.map(|name| name.to_string()), in_kernel)
}

fn rustls_hello(name: &str) -> Vec<u8> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}
