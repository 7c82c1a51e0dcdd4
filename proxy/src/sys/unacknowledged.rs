//! `SIOCOUTQ`, which rustix does not have.
#![expect(unsafe_code, reason = "asks a socket by the number of the question")]

use std::{
    ffi::{c_int, c_ulong},
    io,
    os::fd::{AsFd, AsRawFd},
};

const SIOCOUTQ: c_ulong = 0x5411;

unsafe extern "C" {
    fn ioctl(socket: c_int, request: c_ulong, answer: *mut c_int) -> c_int;
}

/// How many bytes that the kernel was given for a connected socket its peer has not acknowledged.
pub(crate) fn unacknowledged_bytes(socket: impl AsFd) -> io::Result<u64> {
    let mut bytes: c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one integer to `bytes`.
    let failed = unsafe { ioctl(socket.as_fd().as_raw_fd(), SIOCOUTQ, &raw mut bytes) };
    if failed == 0 {
        Ok(u64::try_from(bytes).unwrap_or(0))
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn bytes_that_the_peer_has_no_room_for_are_not_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(unacknowledged_bytes(&client).unwrap(), 0);
        client.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(more) = client.write(&[0; 64 * 1024]) {
            sent += more as u64;
        }
        let before = unacknowledged_bytes(&client).unwrap();
        assert!((1..=sent).contains(&before), "{before} of {sent}");
        drop(server.read_exact(&mut vec![0; usize::try_from(sent).unwrap()]));
        while unacknowledged_bytes(&client).unwrap() > 0 {}
    }

    #[test]
    fn a_descriptor_that_is_no_socket_is_an_error() {
        assert!(unacknowledged_bytes(std::fs::File::open("/dev/null").unwrap()).is_err());
    }
}
