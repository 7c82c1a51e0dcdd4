//! Presents a client certificate that the server refuses.

use std::io::{self, ErrorKind};

use anyhow::{Error, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

use crate::{
    plan::Host,
    response::Response,
    tally::Answer,
    tls::{self, Stream},
    virtual_user::Period,
};

/// The lowest status that refuses a request.
const LEAST_STATUS: u16 = 400;

/// The server must refuse the client, in whatever way: in TLS 1.3 it sees the certificate when the
/// client has finished its handshake, so a request is sent with it.
pub(crate) async fn of_client(period: &Period) -> Result<Answer> {
    let plan = &period.plan;
    let host = plan.host()?;
    let mut stream = match tls::connect(plan.address, &host.name, &plan.config).await {
        Ok((stream, terms)) => {
            period.tally.borrow_mut().handshake(terms);
            stream
        }
        Err(error) => return refusal(error),
    };
    // An alert may arrive beside a failure to send.
    let _ = send(&mut stream, host).await;
    match receive(&mut stream).await {
        Ok(Answer::Status(status)) => {
            ensure!(status >= LEAST_STATUS, "the certificate was not refused: status {status}");
            Ok(Answer::Status(status))
        }
        Ok(answer) => Ok(answer),
        Err(error) => refusal(error),
    }
}

async fn send(stream: &mut Stream, host: &Host) -> io::Result<()> {
    stream.write_all(&host.http1.next()).await?;
    stream.flush().await
}

async fn receive(stream: &mut Stream) -> Result<Answer> {
    let mut response = Response::new();
    let mut is_begun = false;
    loop {
        let bytes = stream.fill_buf().await?;
        match bytes.len() {
            0 if is_begun => bail!("the connection ended within a head"),
            0 => return Ok(Answer::End),
            length => {
                response.push(bytes, |_| Ok(()))?;
                stream.consume(length);
                is_begun = true;
            }
        }
        if let Some(head) = response.head() {
            return Ok(Answer::Status(head.status));
        }
    }
}

/// The refusal that an error is, if it is one.
fn refusal(error: Error) -> Result<Answer> {
    let Some(failure) = error.downcast_ref::<io::Error>() else { return Err(error) };
    let tls = failure.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match (tls, failure.kind()) {
        (Some(rustls::Error::AlertReceived(alert)), _) => Ok(Answer::Alert(u8::from(*alert))),
        // Whoever closes without close_notify.
        (None, ErrorKind::UnexpectedEof) => Ok(Answer::End),
        (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(Answer::Reset),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use rustls::AlertDescription;

    use super::*;

    fn of(error: impl Into<io::Error>) -> Result<Answer> {
        refusal(Err::<(), _>(error.into()).context("no handshake").unwrap_err())
    }

    #[test]
    fn an_alert_a_reset_and_an_end_are_refusals() {
        let alert = rustls::Error::AlertReceived(AlertDescription::UnknownCA);
        assert_eq!(of(io::Error::new(ErrorKind::InvalidData, alert)).unwrap(), Answer::Alert(48));
        assert_eq!(of(ErrorKind::ConnectionReset).unwrap(), Answer::Reset);
        assert_eq!(of(ErrorKind::UnexpectedEof).unwrap(), Answer::End);
    }

    #[test]
    fn other_failures_are_no_refusals() {
        let decrypt = io::Error::new(ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert!(of(decrypt).is_err());
        assert!(of(ErrorKind::ConnectionRefused).is_err());
        assert!(refusal(Error::msg("the server does not speak HTTP/1.1")).is_err());
    }
}
