//! Whether another process serves in the place of this one.
//!
//! A former version says so by SIGUSR2, which anybody may send by mistake: it is nginx's order to
//! upgrade. So the kernel is asked whether somebody else listens at an address of ours.

use std::{collections::HashSet, fs, io, net::SocketAddr};

use crate::listening_sockets::ListeningSocket;

/// Whether another process listens at one of these addresses. Blocks.
pub(super) fn listens_at(addresses: &[SocketAddr]) -> io::Result<bool> {
    let all = ListeningSocket::all()?;
    let own = own_sockets()?;
    Ok(all.iter().any(|socket| addresses.contains(&socket.address) && !own.contains(&socket.inode)))
}

/// The sockets that this process has open, by inode.
fn own_sockets() -> io::Result<HashSet<u64>> {
    let mut own = HashSet::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        // A descriptor may be closed meanwhile.
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:["));
        let inode = inode.and_then(|inode| inode.strip_suffix(']'));
        own.extend(inode.and_then(|inode| inode.parse::<u64>().ok()));
    }
    Ok(own)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn sockets_of_this_process_are_no_other_process() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!listens_at(&[listener.local_addr().unwrap()]).unwrap());
    }
}
