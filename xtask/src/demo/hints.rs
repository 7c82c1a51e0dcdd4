//! The commands to try while a demo runs.

use super::{HOST, Pki, Place};

/// Commands for a user who sees the demo for the first time.
pub(super) fn print(place: &Place, pki: &Pki) {
    let Place { port, admin_port, .. } = place;
    let ca = place.shown(&pki.root);
    let certificate = place.shown(&pki.client.certificate);
    let key = place.shown(&pki.client.key);
    let directory = place.shown(&place.directory);
    println!(
        "
The proxy stays up until Ctrl-C. To try, in another terminal:

  # both handshakes use client certificates: the page ends with the proxy's own client certificate
  curl --resolve {HOST}:{port}:127.0.0.1 --cacert {ca} \\
    --cert {certificate} --key {key} https://{HOST}:{port}/

  # without a client certificate the response is 495
  curl --resolve {HOST}:{port}:127.0.0.1 --cacert {ca} https://{HOST}:{port}/

  # the metrics and the status of the proxy
  curl http://127.0.0.1:{admin_port}/metrics
  curl http://127.0.0.1:{admin_port}/status

  # one record for every request and every rejected connection; change the configuration
  # and the proxy reloads it
  tail -f {directory}/proxy.log
  ${{EDITOR:-vi}} {directory}/config.yaml
"
    );
}
