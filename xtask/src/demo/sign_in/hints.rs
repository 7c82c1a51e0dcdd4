//! What to try while a demo of sign-in runs.

use super::{Certificates, HOST};
use crate::demo::place::Place;

/// The link to open, and other things to try.
pub(super) fn print(place: &Place, certificates: &Certificates) {
    let Place { port, admin_port, .. } = place;
    let ca = place.shown(&certificates.root);
    let directory = place.shown(&place.directory);
    println!(
        "
The proxy stays up until Ctrl-C. Open in a browser on this machine:

  https://{HOST}:{port}/hello?from=demo

The browser warns of the certificate unless it trusts {ca}.
Any name signs in, with any password. The page shows what the upstream verified.

  https://{HOST}:{port}/.pomerium/            who is signed in, and the button to sign out
  https://{HOST}:{port}/.well-known/pomerium/jwks.json

In another terminal:

  # without a session, a program gets 401 and no redirect
  curl --resolve {HOST}:{port}:127.0.0.1 --cacert {ca} \\
    --header 'Accept: application/json' https://{HOST}:{port}/

  # sign-ins, calls to the provider and sessions, as metrics for Prometheus
  curl http://127.0.0.1:{admin_port}/metrics

  tail -f {directory}/proxy.log
"
    );
}
