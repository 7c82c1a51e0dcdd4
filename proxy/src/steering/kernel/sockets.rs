//! The kernel's map of sockets: for each address those of the workers, and one place for a catcher.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsRawFd as _, BorrowedFd},
    thread,
    time::{Duration, Instant},
};

use aya::maps::{HashMap, MapData, MapError, ReusePortSockArray};
use portcullis_abi::ListenKey;
use rustix::io::Errno;
use socket2::SockRef;

/// How long the kernel may take to free the map of a process that has ended.
const MAP_FREED_WITHIN: Duration = Duration::from_secs(10);
const MAP_FREED_PAUSE: Duration = Duration::from_millis(5);

const INET: u32 = 2;
const INET6: u32 = 10;

/// The map, and the places of the catchers in it.
pub(super) struct SocketMap {
    sockets: ReusePortSockArray<MapData>,
    catchers: Vec<CatcherPlace>,
}

struct CatcherPlace {
    index: u32,
    is_taken: bool,
}

impl SocketMap {
    /// The number of places for these groups.
    pub(super) fn len_for(groups: &[Vec<BorrowedFd<'_>>]) -> u32 {
        let places = groups.iter().map(|group| group.len() + 1).sum::<usize>();
        u32::try_from(places).unwrap_or(u32::MAX).max(1)
    }

    /// Enters the sockets of the workers, and where each address's sockets begin.
    pub(super) fn enter(
        mut sockets: ReusePortSockArray<MapData>,
        listening: &mut HashMap<MapData, [u32; 7], u32>,
        groups: &[Vec<BorrowedFd<'_>>],
    ) -> Result<Self, MapError> {
        let (mut next, mut catchers) = (0, Vec::with_capacity(groups.len()));
        for group in groups {
            if let Some(socket) = group.first() {
                listening.insert(listen_key(*socket)?.to_words(), next, 0)?;
            }
            for socket in group {
                enter_when_free(&mut sockets, next, *socket)?;
                next += 1;
            }
            catchers.push(CatcherPlace { index: next, is_taken: false });
            next += 1;
        }
        Ok(Self { sockets, catchers })
    }

    /// Puts a listening socket into the place of a group's catcher, or leaves the place empty.
    pub(super) fn use_catcher(
        &mut self,
        group: usize,
        catcher: Option<BorrowedFd<'_>>,
    ) -> Result<(), MapError> {
        let Self { sockets, catchers } = self;
        let place = catchers.get_mut(group).ok_or(MapError::ElementNotFound)?;
        match catcher {
            Some(catcher) => sockets.set(place.index, &catcher.as_raw_fd(), 0)?,
            None if place.is_taken => sockets.clear_index(&place.index)?,
            None => {}
        }
        place.is_taken = catcher.is_some();
        Ok(())
    }
}

/// Enters a socket. One that the service manager kept is in the map of a process that has ended, until
/// the kernel has freed that map, which it does soon after the program was detached.
fn enter_when_free(
    sockets: &mut ReusePortSockArray<MapData>,
    index: u32,
    socket: BorrowedFd<'_>,
) -> Result<(), MapError> {
    let deadline = Instant::now() + MAP_FREED_WITHIN;
    loop {
        match sockets.set(index, &socket, 0) {
            Err(MapError::SyscallError(error))
                if Errno::from_io_error(&error.io_error) == Some(Errno::BUSY)
                    && Instant::now() < deadline =>
            {
                thread::sleep(MAP_FREED_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The address of a socket, as the program reads it.
fn listen_key(socket: BorrowedFd<'_>) -> io::Result<ListenKey> {
    let address = SockRef::from(&socket).local_addr()?.as_socket();
    let address = address.ok_or(io::ErrorKind::InvalidData)?;
    let port = u32::from(address.port());
    Ok(match address {
        SocketAddr::V4(ipv4) => {
            let word = u32::from_ne_bytes(ipv4.ip().octets());
            ListenKey { family: INET, address: [word, 0, 0, 0], port, interface: 0 }
        }
        SocketAddr::V6(ipv6) => ListenKey {
            family: INET6,
            address: words(ipv6.ip().octets()),
            port,
            interface: ipv6.scope_id(),
        },
    })
}

/// The bytes as the numbers that they are in the kernel's memory.
fn words(bytes: [u8; 16]) -> [u32; 4] {
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_ne_bytes(*bytes);
    }
    words
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::fd::AsFd as _};

    use super::*;

    #[test]
    fn an_address_is_as_the_kernel_keeps_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = u32::from(listener.local_addr().unwrap().port());
        let key = listen_key(listener.as_fd()).unwrap();
        let address = [u32::from_ne_bytes([127, 0, 0, 1]), 0, 0, 0];
        assert_eq!(key, ListenKey { family: INET, address, port, interface: 0 });
        let listener = TcpListener::bind("[::1]:0").unwrap();
        let key = listen_key(listener.as_fd()).unwrap();
        let last = u32::from_ne_bytes([0, 0, 0, 1]);
        assert_eq!((key.family, key.address), (INET6, [0, 0, 0, last]));
    }
}
