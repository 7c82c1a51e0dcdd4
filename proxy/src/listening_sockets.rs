//! The TCP sockets that listen in this network namespace, as the kernel lists them (proc_net_tcp(5)).

use std::{
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// The state in the list.
const LISTEN: &str = "0A";

/// A socket that listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ListeningSocket {
    /// The address that it is bound to.
    pub address: SocketAddr,
    /// The user who made it.
    pub uid: u32,
    /// Identifies the socket, as in `/proc/PID/fd` and in `stat`.
    pub inode: u64,
    /// Connections that wait to be accepted.
    pub waiting: u32,
}

impl ListeningSocket {
    /// All of them, of all processes. Blocks, though not for long: the kernel lists them before the
    /// connections, of which none is read.
    pub(crate) fn all() -> io::Result<Vec<ListeningSocket>> {
        let mut sockets = Vec::new();
        for list in ["/proc/net/tcp", "/proc/net/tcp6"] {
            match File::open(list) {
                Ok(file) => read(BufReader::new(file), &mut sockets)?,
                // The kernel has no IPv6.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(sockets)
    }
}

fn read(list: impl BufRead, sockets: &mut Vec<ListeningSocket>) -> io::Result<()> {
    for line in list.lines().skip(1) {
        match parse(&line?) {
            Some(socket) => sockets.push(socket),
            None => break,
        }
    }
    Ok(())
}

/// `None` if the socket does not listen.
fn parse(line: &str) -> Option<ListeningSocket> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let address = address(fields.next()?)?;
    let state = fields.nth(1)?;
    let (_, waiting) = fields.next()?.split_once(':')?;
    let waiting = u32::from_str_radix(waiting, 16).ok()?;
    let uid = fields.nth(2)?.parse().ok()?;
    let inode = fields.nth(1)?.parse().ok()?;
    (state == LISTEN).then_some(ListeningSocket { address, uid, inode, waiting })
}

/// The IP address is written in words of 32 bits, each as this machine would print the bytes.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, part) in octets.chunks_exact_mut(4).enumerate() {
                part.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_socket_of_this_process_is_listed_with_its_address_and_inode() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let expected = listener.local_addr().unwrap();
            let file = std::os::fd::OwnedFd::from(listener.try_clone().unwrap());
            let inode = File::from(file).metadata().unwrap().ino();
            let all = ListeningSocket::all().unwrap();
            let found = all.iter().find(|socket| socket.inode == inode);
            assert_eq!(found.map(|socket| socket.address), Some(expected));
        }
    }

    #[test]
    fn nothing_is_read_behind_the_sockets_that_listen() {
        let list = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 00000000:0000 0A 00000000:0000001F 00:00000000 00000000  1000        0 77 1 0 100 0 0 10 0\n\
             1: 0100007F:1F90 0100007F:9999 01 00000000:00000000 00:00000000 00000000  1000        0 78 1 0 100 0 0 10 0\n\
             \u{fffd} not a line\n";
        let mut sockets = Vec::new();
        read(list.as_bytes(), &mut sockets).unwrap();
        let address = "127.0.0.1:8080".parse().unwrap();
        let expected = ListeningSocket { address, uid: 1000, inode: 77, waiting: 31 };
        assert_eq!(sockets, [expected]);
    }

    #[test]
    fn lines_of_another_form_are_no_sockets() {
        for line in [
            "",
            "0:",
            "0: 01:1F90 0 0A 0 0 0 0 0 1",
            "0: 0100007F:zz 0 0A 0 0 0 0 0 1",
            "0: é00007F:1F90 x 0A 0 0 0 0 0 1",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
