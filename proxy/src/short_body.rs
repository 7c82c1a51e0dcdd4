//! Reads a whole body, if it is short.

use std::{future::poll_fn, pin::Pin};

use bytes::Bytes;
use http_body::Body;

/// Why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShortBodyError {
    /// It has more bytes than may be.
    #[error("the body is too long")]
    TooLong,
    /// It did not arrive to its end.
    #[error("the body is incomplete")]
    Incomplete,
}

/// Reads a body of at most `max_bytes`. Trailers are dropped. It waits for as long as the sender
/// takes; the caller sets a limit.
pub(crate) async fn read<B>(mut body: B, max_bytes: usize) -> Result<Vec<u8>, ShortBodyError>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|_| ShortBodyError::Incomplete)?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(ShortBodyError::TooLong);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        task::{Context, Poll},
    };

    use http_body::Frame;

    use super::*;

    /// Comes byte by byte.
    struct Text(&'static [u8]);

    impl Body for Text {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let Some((first, rest)) = self.0.split_at_checked(1) else { return Poll::Ready(None) };
            self.0 = rest;
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(first)))))
        }
    }

    #[test]
    fn a_body_is_read_whole_or_refused_by_its_length() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read_text = |text: &'static str, max_bytes| {
            runtime.block_on(read(Text(text.as_bytes()), max_bytes))
        };
        assert_eq!(read_text("", 0), Ok(Vec::new()));
        assert_eq!(read_text("abc", 3), Ok(b"abc".to_vec()));
        assert_eq!(read_text("abcd", 3), Err(ShortBodyError::TooLong));
    }
}
