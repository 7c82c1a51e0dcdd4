//! A tunnel at full speed: an upstream that switches protocols, and a client on the other side of
//! the proxy. Both send and receive as fast as they can, until the process is killed.

use std::{net::SocketAddr, pin::pin};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Builder,
};

use crate::{plan::Plan, tls};

/// The number of bytes sent and received at a time.
const CHUNK_BYTES: usize = 64 * 1024;
/// The end of a head.
const END: &[u8] = b"\r\n\r\n";
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Prints `{"tunnel":"open"}` once bytes have passed the tunnel.
pub(crate) fn run(plan: &Plan, upstream: SocketAddr) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(upstream).await?;
        let (served, asked) = (pin!(serve(listener)), pin!(ask(plan)));
        tokio::select! {
            ended = served => ended.context("the upstream's end of the tunnel"),
            ended = asked => ended.context("the client's end of the tunnel"),
        }
    })
}

async fn serve(listener: TcpListener) -> Result<()> {
    let (mut socket, _) = listener.accept().await?;
    head(&mut socket).await?;
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket";
    socket.write_all(switching.as_bytes()).await?;
    socket.write_all(END).await?;
    flood(socket, || ()).await
}

async fn ask(plan: &Plan) -> Result<()> {
    let host = plan.host()?;
    let (mut stream, _) = tls::connect(plan.address, &host.name, &plan.config).await?;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
        host.name.to_str()
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let head = head(&mut stream).await?;
    ensure!(head.starts_with(b"HTTP/1.1 101"), "no tunnel: {}", String::from_utf8_lossy(&head));
    flood(stream, || println!("{}", serde_json::json!({ "tunnel": "open" }))).await
}

/// Reads byte by byte, so that no byte after the head is consumed.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(END) {
        ensure!(head.len() < MAX_HEAD_BYTES, "a head over 16 KiB");
        head.push(stream.read_u8().await.context("no complete head")?);
    }
    Ok(head)
}

/// Calls `begun` when the first bytes have arrived.
async fn flood(stream: impl AsyncRead + AsyncWrite, begun: impl FnOnce()) -> Result<()> {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let sending = pin!(async {
        let chunk = vec![7; CHUNK_BYTES];
        loop {
            writer.write_all(&chunk).await?;
        }
    });
    let receiving = pin!(async {
        let (mut chunk, mut begun) = (vec![0; CHUNK_BYTES], Some(begun));
        loop {
            ensure!(reader.read(&mut chunk).await? > 0, "the tunnel has ended");
            if let Some(begun) = begun.take() {
                begun();
            }
        }
    });
    tokio::select! {
        ended = sending => ended,
        ended = receiving => ended,
    }
}
