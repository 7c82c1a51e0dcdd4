//! What to do with a demo that is up.

use super::{HOST, Pki, Place};

/// The commands that somebody who sees the demo for the first time wants to have.
pub(super) fn print(place: &Place, pki: &Pki) {
    let Place { port, admin_port, .. } = place;
    let ca = place.shown(&pki.root);
    let certificate = place.shown(&pki.client.certificate);
    let key = place.shown(&pki.client.key);
    let directory = place.shown(&place.directory);
    println!(
        "
The proxy stays up until Ctrl-C. To try, in another terminal:

  # through both handshakes: the page ends with the proxy's own client certificate
  curl --resolve {HOST}:{port}:127.0.0.1 --cacert {ca} \\
    --cert {certificate} --key {key} https://{HOST}:{port}/

  # without a client certificate the answer is 495
  curl --resolve {HOST}:{port}:127.0.0.1 --cacert {ca} https://{HOST}:{port}/

  # what the proxy counts
  curl http://127.0.0.1:{admin_port}/metrics
  curl http://127.0.0.1:{admin_port}/status

  # one record for every request and every refused connection; change the configuration
  # and it is read again
  tail -f {directory}/proxy.log
  ${{EDITOR:-vi}} {directory}/config.yaml
"
    );
}
