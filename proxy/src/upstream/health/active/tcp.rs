//! `tcp_health_check`: bytes that are sent and expected.

use std::{future::poll_fn, pin::Pin, task::Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    failure::CheckFailure,
    spec::TcpCheckSpec,
    stream::{CheckStage, CheckStream},
};

/// Sends, and reads until all blocks have come.
pub(super) async fn exchange(
    stream: &mut CheckStream,
    spec: &TcpCheckSpec,
    stage: &CheckStage,
) -> Result<(), CheckFailure> {
    stage.set("sending");
    let failed = |error: std::io::Error| CheckFailure::counted(error.to_string());
    write_all(stream, &spec.send).await.map_err(failed)?;
    stage.set("waiting for the expected bytes");
    let mut received = Vec::new();
    while !has_blocks(&received, &spec.receive) {
        let mut part = [0; 2048];
        let count = read(stream, &mut part).await.map_err(failed)?;
        if count == 0 {
            let text = "the connection was closed before the expected bytes came";
            return Err(CheckFailure::counted(text));
        }
        received.extend_from_slice(part.get(..count).unwrap_or_default());
    }
    Ok(())
}

/// Whether all blocks are there, in this order; anything may stand between them.
pub(super) fn has_blocks(received: &[u8], blocks: &[Box<[u8]>]) -> bool {
    let mut rest = received;
    blocks.iter().all(|block| {
        let at = rest.windows(block.len().max(1)).position(|window| window == &**block);
        let found = at.and_then(|at| rest.get(at + block.len()..));
        rest = found.unwrap_or_default();
        found.is_some()
    })
}

async fn write_all(stream: &mut CheckStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let count = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        if count == 0 {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        bytes = bytes.get(count..).unwrap_or_default();
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

async fn read(stream: &mut CheckStream, part: &mut [u8]) -> std::io::Result<usize> {
    let mut buffer = ReadBuf::new(part);
    poll_fn(|cx| match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
        Poll::Ready(read) => Poll::Ready(read.map(|()| buffer.filled().len())),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(received: &str, blocks: &[&str]) -> bool {
        let blocks: Vec<Box<[u8]>> = blocks.iter().map(|block| block.as_bytes().into()).collect();
        has_blocks(received.as_bytes(), &blocks)
    }

    #[test]
    fn blocks_must_come_in_their_order_and_may_have_gaps() {
        assert!(found("", &[]));
        assert!(found("+PONG\r\n", &["PONG"]));
        assert!(found("a--b--c", &["a", "b", "c"]));
        assert!(!found("a--c--b", &["a", "b", "c"]));
        assert!(!found("", &["a"]));
        assert!(!found("ab", &["ab", "b"]), "no byte counts twice");
        assert!(found("abb", &["ab", "b"]));
    }
}
