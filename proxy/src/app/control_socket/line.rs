//! Short lines over a Unix socket.

use std::io;

use tokio::net::UnixStream;

use super::order::MAX_REASON;
use crate::identity::ended_users::UserSelector;

/// The longest text in an order, in bytes: the name of a user, or the reason why a process cannot take
/// the place of another.
const MAX_TEXT: usize =
    if UserSelector::MAX_BYTES > MAX_REASON { UserSelector::MAX_BYTES } else { MAX_REASON };

/// The longest line that is read, in bytes. Each byte of a text takes up to six in JSON.
pub(super) const MAX_LINE: usize = 64 + 6 * MAX_TEXT;

/// The longest answer that is read: what is known of many endpoints.
pub(super) const MAX_ANSWER: usize = 8 << 20;

/// Sends a line.
pub(super) async fn send(stream: &UnixStream, line: &str) -> io::Result<()> {
    let line = format!("{line}\n");
    let mut rest = line.as_bytes();
    while !rest.is_empty() {
        stream.writable().await?;
        match stream.try_write(rest) {
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives a line, without its end.
///
/// Fails if the peer closes before the end of the line, or if the line is too long or no UTF-8.
pub(super) async fn receive(stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        stream.readable().await?;
        let mut byte = [0];
        match stream.try_read(&mut byte) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if line.len() == MAX_LINE => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Receives the last line of a connection, which may be long.
///
/// Fails as [`receive`] does.
pub(super) async fn receive_last(stream: &UnixStream) -> io::Result<String> {
    let mut line = Vec::new();
    let mut part = [0; 4096];
    while line.last() != Some(&b'\n') {
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if line.len() >= MAX_ANSWER => return Err(io::ErrorKind::FileTooLarge.into()),
            Ok(count) => line.extend_from_slice(part.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    line.pop();
    String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        runtime.block_on(future)
    }

    #[test]
    fn lines_arrive_one_by_one() {
        block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            send(&near, "first").await.unwrap();
            send(&near, "").await.unwrap();
            assert_eq!(receive(&far).await.unwrap(), "first");
            assert_eq!(receive(&far).await.unwrap(), "");
        });
    }

    #[test]
    fn a_last_line_may_be_long() {
        block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            let long = "x".repeat(100 * MAX_LINE);
            let (sent, received) = tokio::join!(send(&near, &long), receive_last(&far));
            sent.unwrap();
            assert!(received.unwrap() == long);
            let (near, far) = UnixStream::pair().unwrap();
            near.try_write(b"portcu").unwrap();
            drop(near);
            assert_eq!(receive_last(&far).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
    }

    #[test]
    fn an_incomplete_line_and_an_endless_one_are_errors() {
        block_on(async {
            let (near, far) = UnixStream::pair().unwrap();
            send(&near, &"x".repeat(MAX_LINE + 1)).await.unwrap();
            assert_eq!(receive(&far).await.unwrap_err().kind(), io::ErrorKind::FileTooLarge);
            let (near, far) = UnixStream::pair().unwrap();
            near.try_write(b"portcu").unwrap();
            drop(near);
            assert_eq!(receive(&far).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        });
    }
}
