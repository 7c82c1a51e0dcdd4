//! Sends a ClientHello and nothing after it.

use std::io::{self, ErrorKind};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{plan::Plan, tally::Answer, virtual_user::PAUSE};

/// Content types of records (RFC 8446, section 5.1).
const ALERT: u8 = 21;
/// The length of a record header and an unencrypted alert (level and description).
const ALERT_BYTES: usize = 7;
const FATAL: u8 = 2;
const CLOSE_NOTIFY: u8 = 0;

/// The server must reject the name before any handshake message: by a reset, an end or an alert.
pub(crate) async fn be_refused(plan: &Plan) -> Result<Answer> {
    let mut socket = TcpStream::connect(plan.address).await.context("cannot connect")?;
    let answer = ask(&mut socket, &plan.host()?.hello).await?;
    ensure!(answer != Answer::Handshake, "the name was not refused");
    Ok(answer)
}

/// Accepts any reaction of the server. The connection is reset, and leaves no TIME_WAIT.
pub(crate) async fn flood(plan: &Plan) -> Result<Answer> {
    let Ok(mut socket) = TcpStream::connect(plan.address).await else {
        tokio::time::sleep(PAUSE).await;
        return Ok(Answer::NoConnection);
    };
    let answer = ask(&mut socket, &plan.host()?.hello).await;
    let _ = socket.set_zero_linger();
    Ok(answer.unwrap_or(Answer::Reset))
}

async fn ask(socket: &mut TcpStream, hello: &[u8]) -> io::Result<Answer> {
    let mut bytes = [0; ALERT_BYTES];
    let mut length = 0;
    let written = socket.write_all(hello).await;
    while written.is_ok() && length < ALERT_BYTES {
        let n = match socket.read(&mut bytes[length..]).await {
            Ok(n) => n,
            Err(error) => return broken(error, length),
        };
        if n == 0 || bytes.first() != Some(&ALERT) {
            length += n;
            break;
        }
        length += n;
    }
    match written {
        Ok(()) => Ok(judge(bytes.get(..length).unwrap_or_default())),
        Err(error) => broken(error, 0),
    }
}

fn broken(error: io::Error, length: usize) -> io::Result<Answer> {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe if length == 0 => Ok(Answer::Reset),
        _ => Err(error),
    }
}

/// Judges the first record. A warning, such as one about an unknown name, may precede a handshake.
fn judge(bytes: &[u8]) -> Answer {
    match *bytes {
        [] => Answer::End,
        [ALERT, _, _, _, _, level, description]
            if level == FATAL || description == CLOSE_NOTIFY =>
        {
            Answer::Alert(description)
        }
        _ => Answer::Handshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_judged_by_its_first_record() {
        assert_eq!(judge(&[]), Answer::End);
        assert_eq!(judge(&[21, 3, 3, 0, 2, 2, 112]), Answer::Alert(112));
        assert_eq!(judge(&[21, 3, 3, 0, 2, 1, 0]), Answer::Alert(0));
        assert_eq!(judge(&[22, 3, 3, 0, 90, 2, 0]), Answer::Handshake);
    }

    #[test]
    fn a_warning_is_no_refusal() {
        assert_eq!(judge(&[21, 3, 3, 0, 2, 1, 112]), Answer::Handshake);
    }
}
