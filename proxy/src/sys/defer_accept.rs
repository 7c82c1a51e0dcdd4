//! `TCP_DEFER_ACCEPT`, which neither rustix nor socket2 has.
#![expect(unsafe_code, reason = "sets a socket option by its number")]

use std::{
    ffi::{c_int, c_void},
    io,
    os::fd::{AsFd, AsRawFd},
};

const IPPROTO_TCP: c_int = 6;
const TCP_DEFER_ACCEPT: c_int = 9;

unsafe extern "C" {
    fn setsockopt(
        socket: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        len: u32, // socklen_t
    ) -> c_int;
}

/// Makes a listener accept a connection only with its first data. A client that sends none keeps a
/// request for about this long; its handshake is not completed.
pub(crate) fn defer_accept(listener: impl AsFd, seconds: u16) -> io::Result<()> {
    let (socket, seconds) = (listener.as_fd().as_raw_fd(), c_int::from(seconds));
    let (value, len) = ((&raw const seconds).cast(), size_of::<c_int>() as u32);
    // SAFETY: the descriptor is open, and `value` points to an integer of that length.
    let failed = unsafe { setsockopt(socket, IPPROTO_TCP, TCP_DEFER_ACCEPT, value, len) };
    if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Write as _,
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_connection_is_accepted_with_its_first_byte() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        defer_accept(&listener, 60).unwrap();
        listener.set_nonblocking(true).unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
        client.write_all(b"x").unwrap();
        listener.set_nonblocking(false).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
    }

    #[test]
    fn a_descriptor_that_is_no_tcp_socket_is_an_error() {
        assert!(defer_accept(io::stdin(), 60).is_err());
    }
}
