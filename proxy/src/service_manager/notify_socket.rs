//! The socket over which a process tells the service manager of its state (sd_notify(3)).

use std::{
    ffi::OsStr,
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::{
        fd::BorrowedFd,
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
    time::Duration,
};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// How long the service manager may leave its queue full.
const SEND_TIMEOUT: Duration = Duration::from_secs(2);

/// Where it listens.
pub(super) struct NotifySocket(SocketAddr);

impl NotifySocket {
    /// By the value of `NOTIFY_SOCKET`: a path, or `@` and an abstract name.
    pub(super) fn new(name: &OsStr) -> io::Result<NotifySocket> {
        match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a path nor an abstract name",
            )),
        }
        .map(NotifySocket)
    }

    /// Sends a message, with descriptors of which the receiver gets copies.
    pub(super) fn send(&self, state: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        // Connected for each message: the service manager may have opened another socket meanwhile.
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&self.0)?;
        socket.set_write_timeout(Some(SEND_TIMEOUT))?;
        let rights = SendAncillaryMessage::ScmRights(descriptors);
        let mut space = vec![MaybeUninit::uninit(); rights.size()];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptors.is_empty() && !control.push(rights) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        sendmsg(&socket, &[IoSlice::new(state.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}
