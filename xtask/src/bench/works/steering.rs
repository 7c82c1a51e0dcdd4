//! W9: the gain and the cost of serving all connections of a name on one worker.

use anyhow::Result;

use super::{Bench, BodyKind, Load, W1, load::timed};
use crate::{
    admin,
    bench::{
        generator::run,
        model::{Figure, Sample},
        namespace,
        peers::{Peer, Setup},
        prometheus::sum,
    },
};

const WORKERS: usize = 16;
const NAMES: usize = 64;

pub(super) fn measure(
    bench: &Bench<'_>,
    mode: &'static str,
    peer: &dyn Peer,
    round: u32,
) -> Result<Sample> {
    // Only steering in the kernel asks for it. It has a cost, which the other modes do not pay.
    let _cookies = (mode == "kernel").then(namespace::always_send_syn_cookies).transpose()?;
    let setup = Setup { hosts: NAMES, workers: WORKERS, steering: mode, ..Setup::default() };
    let mut running = bench.start(peer, setup)?;
    let kind = Load { work: "full-handshake", body: BodyKind::Kib(1), connections: 32, ..W1 };
    let outcome = run(&mut timed(bench, &kind, &running)?)?;
    running.must_be_running()?;
    let metrics = admin::get(running.place.admin.port(), "/metrics")?;
    let handshakes = sum(&metrics, "portcullis_upstream_tls_handshakes_total", "");
    let requests = sum(&metrics, "portcullis_upstream_requests_total", "");
    let mut sample = outcome.sample(peer.id(), round);
    // Both include the warm-up.
    sample.figures.insert(Figure::UpstreamHandshakesPerUnit, handshakes / requests.max(1.0));
    Ok(sample)
}
