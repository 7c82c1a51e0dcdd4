use std::{cell::Cell, future::poll_fn};

use super::*;

fn settings(header_s: u64, idle_s: Option<u64>) -> ConnectionSettings {
    ConnectionSettings {
        handshake_timeout: Duration::from_secs(10),
        header_timeout: Duration::from_secs(header_s),
        idle_timeout: idle_s.map(Duration::from_secs),
        drain_timeout: Duration::from_secs(10),
        max_connections: 1,
        max_connections_per_worker: 1,
        max_header_bytes: 1,
        max_headers: 100,
        codec: crate::tls::Codec::Auto,
        h2_max_concurrent_streams: 1,
        h2_stream_window_bytes: 1,
        h2_connection_window_bytes: 1,
    }
}

/// Runs a script of phase changes on a paused clock; gives the phase that expired, and when.
async fn expiry(
    settings: ConnectionSettings,
    script: Vec<(u64, ConnectionPhase)>,
) -> Option<(u64, ConnectionPhase)> {
    let start = Instant::now();
    let activity = Activity::new();
    let mut watchdog = Watchdog::new(&settings);
    let changes = async {
        for (at_s, phase) in script {
            tokio::time::sleep_until(start + Duration::from_secs(at_s)).await;
            activity.enter(phase);
        }
        tokio::time::sleep(Duration::from_secs(10_000)).await;
    };
    tokio::select! {
        phase = poll_fn(|cx| watchdog.poll_expired(cx, &activity, SendProgress::default)) =>
            Some((start.elapsed().as_secs(), phase)),
        () = changes => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_expires_when_its_time_is_up() {
    let expired = expiry(settings(10, Some(300)), vec![]).await;
    assert_eq!(expired, Some((300, ConnectionPhase::Idle)));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_expires_counted_from_its_first_byte() {
    let expired = expiry(settings(10, Some(300)), vec![(17, ConnectionPhase::Head)]).await;
    assert_eq!(expired, Some((27, ConnectionPhase::Head)));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_serves_does_not_expire() {
    let script = vec![(1, ConnectionPhase::Head), (2, ConnectionPhase::Serving)];
    assert_eq!(expiry(settings(10, Some(20)), script).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_expires() {
    let activity = Activity::new();
    activity.enter(ConnectionPhase::Serving);
    let settings = settings(10, Some(20));
    let mut watchdog = Watchdog::new(&settings);
    let start = Instant::now();
    activity.sending(true, || 0);
    activity.sending(false, || 0);
    tokio::time::sleep(Duration::from_secs(7)).await;
    activity.sending(true, || 0);
    tokio::time::sleep(Duration::from_secs(5)).await;
    activity.sending(true, || 0);
    let phase = poll_fn(|cx| watchdog.poll_expired(cx, &activity, SendProgress::default)).await;
    assert_eq!((phase, start.elapsed()), (ConnectionPhase::Serving, Duration::from_secs(67)));
}

#[tokio::test(start_paused = true)]
async fn each_request_restarts_the_idle_time() {
    let script = vec![(15, ConnectionPhase::Serving), (16, ConnectionPhase::Idle)];
    let expired = expiry(settings(10, Some(20)), script).await;
    assert_eq!(expired, Some((36, ConnectionPhase::Idle)));
}

#[tokio::test(start_paused = true)]
async fn without_an_idle_limit_an_idle_connection_stays() {
    assert_eq!(expiry(settings(10, None), vec![]).await, None);
}

/// How long it takes until the connection expires, if it does within an hour, and by what, for a client
/// that has read so many bytes when it is looked at for the first, second and third time.
async fn expiry_of_reader(
    activity: &Activity,
    idle_s: Option<u64>,
    acknowledged: &[u64],
    waiting: u64,
) -> Option<(u64, ConnectionPhase)> {
    let settings = settings(10, idle_s);
    let (mut watchdog, start) = (Watchdog::new(&settings), Instant::now());
    let looks = Cell::new(0);
    let progress = || {
        let look = looks.replace(looks.get() + 1).min(acknowledged.len() - 1);
        SendProgress { acknowledged: acknowledged[look], waiting }
    };
    let expired = poll_fn(|cx| watchdog.poll_expired(cx, activity, progress));
    let phase = tokio::time::timeout(Duration::from_secs(3600), expired).await.ok()?;
    Some((start.elapsed().as_secs(), phase))
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_slowly_does_not_expire() {
    for phase in [ConnectionPhase::Serving, ConnectionPhase::Idle] {
        for idle_s in [Some(20), Some(300), None] {
            let activity = Activity::new();
            activity.enter(phase);
            activity.sending(true, || 100);
            let expired = expiry_of_reader(&activity, idle_s, &[101, 102, 102], 1 << 20).await;
            assert_eq!(expired, Some((180, ConnectionPhase::Serving)), "{phase:?} {idle_s:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_idle_once_its_client_has_the_last_byte() {
    for (read, waiting, expected_s) in [
        (&[100, 101, 101][..], 1 << 20, 60),
        (&[0], 1 << 20, 20),
        (&[100], 0, 20),
        (&[100], REPLY_BYTES, 20),
    ] {
        let expired = expiry_of_reader(&Activity::new(), Some(20), read, waiting).await;
        assert_eq!(expired, Some((expected_s, ConnectionPhase::Idle)), "{read:?} {waiting}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_idle_time_begins_when_the_socket_has_taken_the_last_byte() {
    let activity = Activity::new();
    activity.sending(true, || 0);
    tokio::time::sleep(Duration::from_secs(50)).await;
    activity.sending(false, || 0);
    let expired = expiry_of_reader(&activity, Some(20), &[0], 0).await;
    assert_eq!(expired, Some((20, ConnectionPhase::Idle)));
}
