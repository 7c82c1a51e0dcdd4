//! A client that sends HTTP/2 PING frames as fast as it can, and connects again each time that the
//! server ends the connection, until the end of standard input.

use std::{cell::Cell, io::Read as _, pin::pin, thread, time::Instant};

use anyhow::{Result, ensure};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Builder,
    sync::{Notify, oneshot},
};

use crate::{
    arguments::Protocol,
    plan::Plan,
    tls::{self, Stream},
    virtual_user::PAUSE,
};

/// The preface, and SETTINGS without a value.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The number of frames in one write.
const BATCH: usize = 4_000;
/// How many connections may fail before the first one is open.
const MOST_FAILURES: u64 = 100;

/// What became of the flood.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FloodReport {
    /// Connections that the server ended.
    cut_off: u64,
    /// Connections that the server did not accept, or whose handshake failed.
    not_accepted: u64,
    /// Bytes of frames that were sent.
    sent_bytes: u64,
    seconds: f64,
}

/// Prints `{"flood":"begun"}` once the first connection is open, and `{"flood":"cut off"}` once it ends.
pub(crate) fn run(plan: &Plan) -> Result<FloodReport> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (end, ended) = oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = end.send(());
    });
    let (begun, sent, first) = (Instant::now(), Cell::new(0), Notify::new());
    let mut report = FloodReport::default();
    runtime.block_on(async {
        tokio::select! {
            flooded = flood_again(plan, &mut report, &sent, &first) => flooded,
            // Not before it is known that there is something to flood.
            () = async {
                let _ = ended.await;
                first.notified().await;
            } => Ok(()),
        }
    })?;
    report.sent_bytes = sent.get();
    report.seconds = begun.elapsed().as_secs_f64();
    Ok(report)
}

/// Floods connection after connection.
async fn flood_again(
    plan: &Plan,
    report: &mut FloodReport,
    sent: &Cell<u64>,
    first: &Notify,
) -> Result<()> {
    let mut begun = false;
    loop {
        let connected = tls::connect(plan.address, &plan.host()?.name, &plan.config).await;
        let Ok((mut stream, _)) = connected else {
            report.not_accepted += 1;
            ensure!(begun || report.not_accepted < MOST_FAILURES, "the server accepts no client");
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        ensure!(tls::speaks(&stream, Protocol::Http2), "the server does not speak HTTP/2");
        first.notify_one();
        if stream.write_all(OPENING).await.is_ok() {
            if !std::mem::replace(&mut begun, true) {
                say("begun");
            }
            flood(stream, sent).await;
        }
        if report.cut_off == 0 {
            say("cut off");
        }
        report.cut_off += 1;
    }
}

fn say(event: &str) {
    println!("{}", serde_json::json!({ "flood": event }));
}

/// Returns when the server ends the connection.
async fn flood(stream: Stream, sent: &Cell<u64>) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = pin!(async {
        let batch = PING.repeat(BATCH);
        while writer.write_all(&batch).await.is_ok() {
            sent.set(sent.get() + batch.len() as u64);
        }
    });
    let receiving = pin!(async {
        let mut answers = vec![0; 64 * 1024];
        while reader.read(&mut answers).await.is_ok_and(|received| received > 0) {}
    });
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}
