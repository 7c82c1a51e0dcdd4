//! The rest of a request whose response is over: the upstream has answered early, and reads on.
//!
//! Its client was told the answer and not that the connection closes, so that the rest must reach the
//! upstream, as it would without a proxy (RFC 9110 section 10.1.1).

use std::{future::poll_fn, rc::Rc, time::Duration};

use super::{body::Upload, lease::Lease};
use crate::rt;

/// How long neither the client nor the upstream may move a piece on.
const STALL: Duration = Duration::from_secs(30);

/// Keeps the connection until the rest has been sent, then ends the request. Gives the rest up if it
/// takes too long.
pub(super) async fn finish(lease: Lease, upload: Rc<Upload>) {
    let sending = sent_or_stalled(&upload);
    match lease.late_upload_limit() {
        Some(limit) => {
            let _ = rt::timeout(limit, sending).await;
        }
        None => sending.await,
    }
    lease.end();
}

async fn sent_or_stalled(upload: &Upload) {
    let progress = &upload.progress;
    loop {
        let before = progress.pieces();
        let stopped = rt::timeout(STALL, poll_fn(|cx| progress.poll_stopped(cx))).await;
        if stopped.is_ok() || progress.pieces() == before {
            return;
        }
    }
}
