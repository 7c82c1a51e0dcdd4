//! Addresses that cannot be bound: the key that names them, why, who holds the port, and what to do.

use std::{
    fmt, fs, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use rustix::io::Errno;

use crate::{accounts, listening_sockets::ListeningSocket};

/// The first port that every user may bind, unless the system says otherwise.
const FIRST_FREE_PORT: u16 = 1024;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) struct BindError {
    /// The key of the configuration that names the address.
    key: &'static str,
    address: SocketAddr,
    error: io::Error,
    /// Who listens there, if the address is in use and the kernel tells.
    holder: Option<PortHolder>,
}

/// Who listens at a port.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PortHolder {
    uid: u32,
    /// The first that has the socket, by its number and name; `None` if this process may not see it.
    process: Option<(u32, String)>,
}

impl BindError {
    /// Asks the kernel who holds the port, if that is why. Blocks for a moment.
    pub(crate) fn new(key: &'static str, address: SocketAddr, error: io::Error) -> BindError {
        let is_in_use = error.kind() == io::ErrorKind::AddrInUse;
        let holder = is_in_use.then(|| PortHolder::of(address)).flatten();
        BindError { key, address, error, holder }
    }

    fn hint(&self) -> Option<String> {
        let port = self.address.port();
        match Errno::from_io_error(&self.error)? {
            Errno::ADDRINUSE if self.holder.is_none() => Some(format!(
                "no socket that listens there is visible; `ss -tan sport = :{port}` as root shows who \
                 has the port"
            )),
            Errno::ADDRINUSE => Some(
                "stop it, choose another address, or, if it is Portcullis, start with `--replace PID`"
                    .to_owned(),
            ),
            Errno::ACCESS if port < FIRST_FREE_PORT => Some(format!(
                "ports below {FIRST_FREE_PORT} need the capability CAP_NET_BIND_SERVICE \
                 (`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a unit of systemd), or the sysctl \
                 net.ipv4.ip_unprivileged_port_start={port}"
            )),
            Errno::ADDRNOTAVAIL => {
                let family = if self.address.is_ipv4() { "ipv4" } else { "ipv6" };
                Some(format!(
                    "no interface has this address; if it comes later, set the sysctl \
                     net.{family}.ip_nonlocal_bind=1"
                ))
            }
            Errno::AFNOSUPPORT => Some(format!(
                "IPv6 is off, or denied to this process; write an IPv4 address such as 0.0.0.0:{port}"
            )),
            _ => None,
        }
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError { key, address, error, holder } = self;
        write!(f, "{key}: cannot listen on {address}: ")?;
        match holder {
            Some(holder) => write!(f, "the address is in use by {holder}")?,
            None => write!(f, "{error}")?,
        }
        self.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl PortHolder {
    fn of(address: SocketAddr) -> Option<PortHolder> {
        let sockets = ListeningSocket::all().ok()?;
        let socket = sockets.iter().find(|socket| excludes(socket.address, address))?;
        Some(PortHolder { uid: socket.uid, process: process_with_socket(socket.inode) })
    }
}

impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((id, name)) => write!(f, "process {id} ({name})")?,
            None => f.write_str("a process")?,
        }
        write!(f, " of user {}", accounts::shown(self.uid))
    }
}

/// Whether a socket at the first address leaves no room for one at the second.
fn excludes(held: SocketAddr, wanted: SocketAddr) -> bool {
    let is_every = |ip: IpAddr| ip.is_unspecified();
    let overlaps = match (held.ip().to_canonical(), wanted.ip().to_canonical()) {
        (held, wanted) if held == wanted => true,
        // `[::]` takes IPv4 too.
        (held, wanted) if held.is_ipv6() == wanted.is_ipv6() => is_every(held) || is_every(wanted),
        (IpAddr::V6(every), _) | (_, IpAddr::V6(every)) => every.is_unspecified(),
        _ => false,
    };
    held.port() == wanted.port() && overlaps
}

/// The first process that has this socket open. Only root sees those of other users.
fn process_with_socket(inode: u64) -> Option<(u32, String)> {
    let socket = format!("socket:[{inode}]");
    let has_it = |process: &Path| {
        let descriptors = fs::read_dir(process.join("fd")).ok().into_iter().flatten().flatten();
        descriptors
            .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
            .any(|target| target.as_os_str() == socket.as_str())
    };
    let processes = fs::read_dir("/proc").ok()?.flatten().filter_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        Some((id, process.path()))
    });
    let (id, path) = processes.into_iter().find(|(_, process)| has_it(process))?;
    let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
    Some((id, name.trim_end().escape_default().to_string()))
}

/// Binds an address. `[::]` stands for all addresses: where this process has no IPv6, those are the
/// addresses of IPv4. Also gives the address that was bound.
pub(crate) fn with_ipv4_fallback<T>(
    address: SocketAddr,
    mut bind: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<(T, SocketAddr)> {
    let is_every = address.is_ipv6() && address.ip().is_unspecified();
    let address = match bind(address) {
        Err(error) if is_every && Errno::from_io_error(&error) == Some(Errno::AFNOSUPPORT) => {
            SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port())
        }
        bound => return Ok((bound?, address)),
    };
    Ok((bind(address)?, address))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn error(address: &str, error: Errno) -> String {
        BindError::new("address", address.parse().unwrap(), error.into()).to_string()
    }

    #[test]
    fn an_address_in_use_names_the_process_and_user_that_listen_there() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shown = error(&address.to_string(), Errno::ADDRINUSE);
        let of_all = error(&format!("[::]:{}", address.port()), Errno::ADDRINUSE);
        let process = format!("the address is in use by process {} (", std::process::id());
        assert!(
            shown.starts_with(&format!("address: cannot listen on {address}: {process}")),
            "{shown}"
        );
        assert!(of_all.contains(&process), "{of_all}");
        assert!(shown.contains(" of user "), "{shown}");
    }

    #[test]
    fn each_cause_has_its_remedy() {
        for (address, errno, part) in [
            ("[::]:443", Errno::ACCESS, "Permission denied (os error 13); ports below 1024 need"),
            ("[::1]:443", Errno::AFNOSUPPORT, "write an IPv4 address such as 0.0.0.0:443"),
            ("192.0.2.1:1", Errno::ADDRNOTAVAIL, "net.ipv4.ip_nonlocal_bind=1"),
            ("[2001:db8::1]:1", Errno::ADDRNOTAVAIL, "net.ipv6.ip_nonlocal_bind=1"),
            ("127.0.0.1:1", Errno::ADDRINUSE, "`ss -tan sport = :1` as root"),
            ("127.0.0.1:8443", Errno::ACCESS, "8443: Permission denied (os error 13)"),
        ] {
            let shown = error(address, errno);
            assert!(shown.contains(part), "{shown}");
        }
        assert!(error("127.0.0.1:8443", Errno::ACCESS).ends_with("(os error 13)"));
    }

    #[test]
    fn a_socket_excludes_others_at_its_addresses() {
        for (held, wanted, is_excluded) in [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("127.0.0.2:1", "[::]:1", true),
            ("[::]:1", "127.0.0.2:1", true),
            ("[::ffff:127.0.0.1]:1", "127.0.0.1:1", true),
            ("[::1]:1", "127.0.0.1:1", false),
            ("0.0.0.0:1", "[::1]:1", false),
        ] {
            let excluded = excludes(held.parse().unwrap(), wanted.parse().unwrap());
            assert_eq!(excluded, is_excluded, "{held} {wanted}");
        }
    }

    #[test]
    fn only_every_address_falls_back_to_ipv4() {
        let no_ipv6 = |address: SocketAddr| match address {
            SocketAddr::V4(_) => Ok(()),
            SocketAddr::V6(_) => Err(Errno::AFNOSUPPORT.into()),
        };
        let bound = with_ipv4_fallback("[::]:443".parse().unwrap(), no_ipv6).unwrap();
        assert_eq!(bound.1, "0.0.0.0:443".parse().unwrap());
        assert!(with_ipv4_fallback("[::1]:443".parse().unwrap(), no_ipv6).is_err());
        let in_use = |_| Err::<(), _>(Errno::ADDRINUSE.into());
        assert!(with_ipv4_fallback("[::]:443".parse().unwrap(), in_use).is_err());
    }
}
