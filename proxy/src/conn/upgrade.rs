//! A connection that has left HTTP: joined with its upstream's, within its limits.

use std::{future::pending, time::Instant};

use super::{
    close::close,
    splice::{Joint, Side},
};
use crate::{http::PendingUpgrade, observe::ClosedReason, rt};

/// Passes bytes on until both sides have ended, one fails, or a limit is reached.
pub(super) async fn join(client: Side, upgrade: PendingUpgrade) -> ClosedReason {
    let PendingUpgrade { upstream, idle_timeout, deadline, mut record } = upgrade;
    let upstream = Side { transport: upstream.transport, received: upstream.received };
    let mut joint = Joint::new(client, upstream);
    let activity = joint.activity();
    let limit = async {
        loop {
            let idle_at = idle_timeout.map(|timeout| activity.get() + timeout);
            let Some(next) = [idle_at, deadline].into_iter().flatten().min() else {
                pending::<()>().await;
                continue;
            };
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            rt::sleep(left).await;
        }
    };
    let ended = tokio::select! {
        ended = joint.run() => Some(ended),
        () = limit => None,
    };
    record.add_received(joint.up_bytes());
    record.add_sent(joint.down_bytes());
    if ended.is_none() {
        record.timed_out();
    }
    drop(record);
    let (client, upstream) = joint.into_transports();
    rt::spawn(close(upstream));
    close(client).await;
    match ended {
        Some(Ok(())) => ClosedReason::Done,
        Some(Err(_)) => ClosedReason::Io,
        None => ClosedReason::IdleTimeout,
    }
}
