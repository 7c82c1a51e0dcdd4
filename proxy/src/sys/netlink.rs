//! Questions to the kernel over netlink: one message each way, netlink(7).

use std::{io, os::fd::OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send,
        socket_with,
    },
};

const REQUEST: u16 = 1; // NLM_F_REQUEST
const HEADER_LEN: usize = 16;
const ERROR: u16 = 2; // NLMSG_ERROR
/// Longer than any answer that is asked for.
const ANSWER_LEN: usize = 4096;

/// A netlink socket. Its questions are answered within the call.
#[derive(Debug)]
pub(super) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens a socket of this protocol; `None` is NETLINK_ROUTE.
    pub(super) fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        Ok(Self(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?))
    }

    /// Sends a message of this type and returns the body of the answer.
    ///
    /// # Errors
    /// The kernel's error number, for instance `ENOENT` for an object that does not exist.
    pub(super) fn ask(&self, kind: u16, body: &[u8]) -> io::Result<Vec<u8>> {
        let len = u32::try_from(HEADER_LEN + body.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADER_LEN + body.len());
        message.extend(len.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(REQUEST.to_ne_bytes());
        message.extend([0; 8]); // sequence number and port
        message.extend(body);
        send(&self.0, &message, SendFlags::empty())?;
        let mut answer = vec![0; ANSWER_LEN];
        let (len, _) = recv(&self.0, answer.as_mut_slice(), RecvFlags::empty())?;
        answer.truncate(len);
        body_of(&answer)
    }
}

/// The body of the first message.
fn body_of(answer: &[u8]) -> io::Result<Vec<u8>> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    let (header, body) = answer.split_at_checked(HEADER_LEN).ok_or_else(broken)?;
    let [l0, l1, l2, l3, k0, k1, ..] = *header else { return Err(broken()) };
    let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).map_err(io::Error::other)?;
    let body = len.checked_sub(HEADER_LEN).and_then(|len| body.get(..len)).ok_or_else(broken)?;
    if u16::from_ne_bytes([k0, k1]) != ERROR {
        return Ok(body.to_vec());
    }
    // A negative number, and the message that it is about.
    let number = body.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes)).ok_or_else(broken)?;
    Err(Errno::from_raw_os_error(number.saturating_neg()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_split_and_an_error_is_one() {
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes
        };
        assert_eq!(body_of(&message(20, b"body")).unwrap(), b"body");
        let errno = body_of(&message(ERROR, &(-2_i32).to_ne_bytes())).unwrap_err();
        assert_eq!(errno.raw_os_error(), Some(2));
        for broken in [&b""[..], &[0; 15], &[255; 16], &message(ERROR, b"")] {
            assert!(body_of(broken).is_err(), "{broken:?}");
        }
    }
}
