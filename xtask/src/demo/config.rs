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
# Made by `cargo xtask demo`, which writes it anew each time. While the demo runs, a change
# here is taken over at once; one that is not valid is reported in proxy.log and not taken.

# Where clients connect.
address: 127.0.0.1:{port}

# What the proxy shows to clients. A route's name decides which certificate it is, if there
# are more.
certificate_file: {edge}
certificate_key_file: {edge_key}

# Clients must show a certificate of this CA, or they get 495. With
# `enforcement: reject_connection` the handshake is refused.
downstream_mtls:
  ca_file: {ca}

routes:
  - from: https://{HOST}:{port}
    to: https://localhost:{upstream_port}

    # The upstream must show a certificate of this CA for this name ...
    tls_custom_ca_file: {ca}
    tls_upstream_server_name: {UPSTREAM_NAME}

    # ... and gets to see this one.
    tls_client_cert_file: {proxy}
    tls_client_key_file: {proxy_key}

    # Who may pass.
    policy:
      - allow:
          or:
            - domain:
                is: localhost.pomerium.io

# What Pomerium does not have.
portcullis:
  # Who somebody is, by the email address in the client certificate.
  client_certificate_identity: email
  # /metrics, /status, /healthz and /readyz are here.
  admin_address: 127.0.0.1:{admin_port}
"
    )
}
