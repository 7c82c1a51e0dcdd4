//! The `config.yaml` of the demo of sign-in.

use super::{AUTHENTICATE_HOST, Certificates, HOST};
use crate::demo::place::Place;

/// The configuration, with a comment for each part.
pub(super) fn yaml(place: &Place, certificates: &Certificates, secrets: &[String; 2]) -> String {
    let [shared_secret, cookie_secret] = secrets;
    let Place { port, admin_port, upstream_port, provider_port, .. } = place;
    let (edge, key) = (certificates.edge.certificate.display(), certificates.edge.key.display());
    format!(
        "\
# Made by `cargo xtask demo --sign-in`, which overwrites it at each start. While the demo runs, a
# change is applied at once; an invalid one is reported in proxy.log and not applied.

# The address that clients connect to.
address: 127.0.0.1:{port}

# One certificate for both hosts.
certificate_file: {edge}
certificate_key_file: {key}

# The host that people sign in at. The provider sends them back to it.
authenticate_service_url: https://{AUTHENTICATE_HOST}:{port}

# The identity provider: any that speaks OpenID Connect. `http` is accepted for loopback only.
idp_provider: oidc
idp_provider_url: http://127.0.0.1:{provider_port}
idp_client_id: c-ES256
idp_client_secret: secret

# Made by `openssl rand -base64 32`. While they stay the same, users stay signed in over restarts and
# upstreams see assertions signed with the same key.
shared_secret: {shared_secret}
cookie_secret: {cookie_secret}

routes:
  - from: https://{HOST}:{port}
    to: http://127.0.0.1:{upstream_port}
    # The upstream gets a signed assertion that names the user.
    pass_identity_headers: true
    policy:
      - allow:
          or:
            - domain:
                is: example.com

portcullis:
  # Serves /metrics, /status, /healthz and /readyz.
  admin_address: 127.0.0.1:{admin_port}
"
    )
}
