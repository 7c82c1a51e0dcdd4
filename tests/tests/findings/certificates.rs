//! Certificates, keys, CAs and lists of revoked certificates.

use super::row::{Row, error, warning};

pub(crate) const ROWS: &[Row] = &[
    Row::new(
        "a certificate that is not there",
        "{route}certificate_file: /nowhere.pem\ncertificate_key_file: '@/server.key'\n",
        &[error(5, "certificate_file: cannot read /nowhere.pem: no such file or directory")],
    )
    .whole(),
    Row::new(
        "a relative path",
        "{route}certificate_file: nowhere.pem\ncertificate_key_file: '@/server.key'\n",
        &[error(5, "a relative path starts in the working directory, /")],
    )
    .whole(),
    Row::new(
        "the key of another certificate",
        "{route}certificate_file: '@/server.pem'\ncertificate_key_file: '@/client.key'\n",
        &[error(5, "certificate_file: @/server.pem and @/client.key: ")],
    )
    .whole(),
    Row::new(
        "swapped files",
        "{route}certificate_file: '@/server.key'\ncertificate_key_file: '@/server.pem'\n",
        &[error(5, "the certificate and its key are swapped")],
    )
    .whole(),
    Row::new(
        "DER",
        "{route}certificate_file: '@/server.der'\ncertificate_key_file: '@/server.key'\n",
        &[error(5, "DER")],
    )
    .whole(),
    Row::new(
        "an encrypted key",
        "{route}certificate_file: '@/server.pem'\ncertificate_key_file: '@/locked.key'\n",
        &[error(5, "encrypted")],
    )
    .whole(),
    Row::new(
        "a certificate without its key",
        "{route}certificate_file: '@/server.pem'\n",
        &[("error", None, "certificate_key_file: is missing, but `certificate_file` is set")],
    )
    .whole(),
    Row::new(
        "PEM in the place of a path",
        "{route}certificate_file: '-----BEGIN CERTIFICATE-----'\ncertificate_key_file: '@/server.key'\n",
        &[error(5, "holds PEM text; it takes the path of a file")],
    )
    .whole(),
    Row::new(
        "a certificate that has ended",
        "{route}certificates:\n- {cert: '@/ended.pem', key: '@/ended.key'}\n",
        &[warning(6, "the certificate has ended: every peer rejects it")],
    ),
    Row::new(
        "a host that no certificate is for",
        "routes:\n- from: https://a.elsewhere.example\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n",
        &[warning(2, "no server certificate is for a.elsewhere.example")],
    ),
    Row::new(
        "a host two labels below a wildcard",
        "routes:\n- from: https://a.b.localhost.pomerium.io\n  to: http://127.0.0.1:1\n  \
         allow_public_unauthenticated_access: true\n",
        &[warning(2, "a wildcard in a certificate stands for one label")],
    ),
    Row::new(
        "a file of CAs with a private key",
        "{route}downstream_mtls: {ca_file: '@/both.pem'}\n",
        &[warning(5, "downstream_mtls.ca_file: @/both.pem: there is a private key in it")],
    ),
    Row::new(
        "a leaf as CA",
        "{route}downstream_mtls:\n  ca_file: '@/client.pem'\n",
        &[warning(6, "is no CA: it is trusted as itself, and issues nothing")],
    ),
    Row::new(
        "an ended leaf as CA",
        "{route}downstream_mtls: {ca_file: '@/ended.pem'}\n",
        &[
            warning(5, "has ended: the certificates of its clients are refused"),
            warning(5, "is no CA"),
        ],
    ),
    Row::new(
        "a CA that can never verify",
        "{route}downstream_mtls: {ca_file: '@/p521.pem'}\n",
        &[warning(5, "no signature can be verified with the key of certificate 1 (P-521)")],
    ),
    Row::new(
        "a CA of upstreams that can never verify",
        "{route}  tls_custom_ca_file: '@/p521.pem'\n",
        &[
            warning(5, "no signature can be verified"),
            warning(5, "has no effect: no URL in `to` is https"),
        ],
    ),
    Row::new(
        "a directory as CA",
        "{route}downstream_mtls: {ca_file: '@'}\n",
        &[error(5, "is a directory, not a regular file")],
    ),
    Row::new(
        "a CA that is no PEM",
        "{route}downstream_mtls: {ca_file: '@/garbage.pem'}\n",
        &[error(5, "no certificate found")],
    ),
    Row::new(
        "a key as CA",
        "{route}downstream_mtls: {ca_file: '@/server.key'}\n",
        &[error(5, "no certificate found")],
    ),
    Row::new("an empty CA", "{route}downstream_mtls: {ca_file: ''}\n", &[error(5, "is empty")]),
    Row::new(
        "both forms of a CA",
        "{route}downstream_mtls: {ca: aGVsbG8=, ca_file: '@/ca.pem'}\n",
        &[error(5, "cannot set both ca and ca_file")],
    ),
    Row::new(
        "a CRL that is out of date",
        "{route}downstream_mtls: {ca_file: '@/own.pem', crl_file: '@/stale.pem'}\n\
         portcullis: {crl: {missing: allow, stale: reject}}\n",
        &[warning(5, "@/stale.pem: the CRL of")],
    ),
    Row::new(
        "a CRL that is none",
        "{route}downstream_mtls: {ca_file: '@/own.pem', crl_file: '@/ca.pem'}\n",
        &[error(5, "downstream_mtls.crl_file")],
    ),
    Row::new(
        "a ticket key that is too short",
        "{route}portcullis: {ticket_key_files: ['@/short.key']}\n",
        &[error(5, "`openssl rand 80 > FILE` generates one")],
    ),
    Row::new(
        "a client key without its certificate",
        "{route}  tls_client_key_file: '@/client.key'\n",
        &[error(2, "tls_client_cert_file: is missing, but `tls_client_key_file` is set")],
    ),
];
