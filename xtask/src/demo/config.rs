//! The demo's `config.yaml`.

use super::{HOST, Place, UPSTREAM_NAME, pki::Pki};

/// The configuration, with a comment for each part.
pub(super) fn yaml(place: &Place, pki: &Pki) -> String {
    let Place { port, admin_port, upstream_port, .. } = place;
    let ca = pki.root.display();
    let (edge, edge_key) = (pki.edge.certificate.display(), pki.edge.key.display());
    let (proxy, proxy_key) = (pki.proxy.certificate.display(), pki.proxy.key.display());
    format!(
        "\
# Made by `cargo xtask demo`, which overwrites it at each start. While the demo runs, a change
# is applied at once; an invalid one is reported in proxy.log and not applied.

# The address that clients connect to.
address: 127.0.0.1:{port}

# The certificate sent to clients. With several certificates, the server name selects one.
certificate_file: {edge}
certificate_key_file: {edge_key}

# Clients must send a certificate of this CA, or they get 495. With
# `enforcement: reject_connection` the handshake fails instead.
downstream_mtls:
  ca_file: {ca}

routes:
  - from: https://{HOST}:{port}
    to: https://localhost:{upstream_port}

    # The upstream must send a certificate of this CA for this name ...
    tls_custom_ca_file: {ca}
    tls_upstream_server_name: {UPSTREAM_NAME}

    # ... and is sent this one.
    tls_client_cert_file: {proxy}
    tls_client_key_file: {proxy_key}

    # Users who are allowed.
    policy:
      - allow:
          or:
            - domain:
                is: localhost.pomerium.io

# Settings that Pomerium does not have.
portcullis:
  # Users are identified by the email address in their client certificate.
  client_certificate_identity: email
  # Serves /metrics, /status, /healthz and /readyz.
  admin_address: 127.0.0.1:{admin_port}
"
    )
}
