//! The listening sockets of the process: bound, or taken over from the service manager, which keeps
//! them while no process runs.

use std::{
    collections::HashMap,
    fs::File,
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use rustix::time::{ClockId, clock_gettime};
use socket2::{Protocol, SockRef, Type};

use crate::{
    binding::BindError,
    config::Config,
    listener::{Listener, ListenerRole},
    listening_sockets::ListeningSocket,
    service_manager::{InheritedDescriptor, ServiceManager},
};

/// Begins the names by which the service manager keeps listeners. What else it passes is not ours.
const NAME: &str = "listeners.";

/// Sockets that listen already, by their address, and the names by which they were kept.
#[derive(Debug, Default)]
pub(super) struct KeptListeners {
    sockets: HashMap<SocketAddr, Vec<OwnedFd>>,
    names: Vec<String>,
}

impl KeptListeners {
    /// Takes those of the descriptors that are TCP listeners of ours; closes the others.
    pub(super) fn of(inherited: Vec<InheritedDescriptor>) -> KeptListeners {
        let mut kept = KeptListeners::default();
        for InheritedDescriptor { name, descriptor } in inherited {
            if name.starts_with(NAME) && !kept.names.contains(&name) {
                kept.names.push(name.clone());
            }
            match address_of_listener(&descriptor) {
                Ok(address) if name.starts_with(NAME) => {
                    kept.sockets.entry(address).or_default().push(descriptor);
                }
                Ok(address) => {
                    tracing::warn!(name, %address, "a socket of the service manager has no name of \
                        this program, and is not used");
                }
                Err(problem) => {
                    tracing::warn!(
                        name,
                        problem,
                        "a descriptor of the service manager is not used"
                    );
                }
            }
        }
        kept
    }

    /// Takes one that listens at this address.
    fn take(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        self.sockets.get_mut(&address)?.pop()
    }

    fn len(&self) -> usize {
        self.sockets.values().map(Vec::len).sum()
    }

    /// Connections that wait at them, as far as the kernel tells.
    fn waiting(&self) -> u32 {
        let all = ListeningSocket::all().unwrap_or_default();
        let waiting: HashMap<u64, u32> =
            all.into_iter().map(|socket| (socket.inode, socket.waiting)).collect();
        let sockets = self.sockets.values().flatten();
        sockets.filter_map(|socket| waiting.get(&inode(socket)?)).sum()
    }
}

fn inode(socket: &OwnedFd) -> Option<u64> {
    Some(File::from(socket.try_clone().ok()?).metadata().ok()?.ino())
}

/// The address at which a descriptor listens; otherwise what it is not.
fn address_of_listener(descriptor: &OwnedFd) -> Result<SocketAddr, &'static str> {
    const NO_SOCKET: &str = "it is no TCP socket that listens";
    let socket = SockRef::from(descriptor);
    let listens = socket.is_listener().unwrap_or(false)
        && socket.r#type().is_ok_and(|kind| kind == Type::STREAM)
        && socket.protocol().is_ok_and(|protocol| protocol == Some(Protocol::TCP));
    let address = socket.local_addr().ok().and_then(|address| address.as_socket());
    let address = address.filter(|_| listens).ok_or(NO_SOCKET)?;
    if !socket.reuse_port().unwrap_or(false) {
        return Err("it does not share its address (SO_REUSEPORT)");
    }
    let takes_ipv4 = address.is_ipv6() && !socket.only_v6().unwrap_or(true);
    if address.is_ipv6() && address.ip().is_unspecified() != takes_ipv4 {
        return Err("IPV6_V6ONLY is not as this program sets it");
    }
    socket.set_nonblocking(true).map_err(|_| "it cannot be made non-blocking")?;
    Ok(address)
}

/// The sockets of all workers, and how many of them are kept ones.
#[derive(Debug)]
pub(super) struct BoundListeners {
    pub(super) workers: Vec<Vec<Listener>>,
    pub(super) adopted: usize,
    kept_names: Vec<String>,
}

impl BoundListeners {
    /// Where clients connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.workers.first().into_iter().flatten().map(|listener| listener.address).collect()
    }
}

/// Gives each worker a socket for each address: a kept one, or else a new one.
pub(super) fn bind(
    config: &Config,
    workers: usize,
    mut kept: KeptListeners,
) -> anyhow::Result<BoundListeners> {
    let (found, waiting) = (kept.len(), if kept.len() > 0 { kept.waiting() } else { 0 });
    let listeners = (0..workers)
        .map(|_| config.listen.bind_with(|address| kept.take(address)))
        .collect::<Result<Vec<_>, _>>()?;
    warn_of_fallback(config, &listeners);
    let adopted = found - kept.len();
    if adopted > 0 {
        tracing::info!(
            sockets = adopted,
            waiting,
            "listening at the sockets that the service manager kept; connections that waited there \
             are served now"
        );
    }
    for (address, sockets) in kept.sockets.iter().filter(|(_, sockets)| !sockets.is_empty()) {
        tracing::warn!(
            %address,
            sockets = sockets.len(),
            "kept sockets are closed, since the configuration has fewer workers or another address: \
             connections that wait there are reset"
        );
    }
    Ok(BoundListeners { workers: listeners, adopted, kept_names: kept.names })
}

fn warn_of_fallback(config: &Config, listeners: &[Vec<Listener>]) {
    let first = listeners.first().into_iter().flatten();
    for (listener, wanted) in first.zip(config.listen.all()) {
        if listener.address != wanted {
            tracing::warn!(
                "this process has no IPv6: it listens on {} in the place of {wanted}",
                listener.address
            );
        }
    }
}

impl BoundListeners {
    /// Starts listening: from now on, connections wait for the workers.
    fn listen(&self) -> Result<(), BindError> {
        self.workers.iter().flatten().try_for_each(Listener::listen)
    }
}

/// The listeners of this process in the store of the service manager.
#[derive(Debug)]
pub(super) struct ListenerStore {
    manager: ServiceManager,
    /// No other process has used it since the machine started. All descriptors with one name leave the
    /// store together.
    name: String,
}

impl ListenerStore {
    pub(super) fn new(manager: ServiceManager) -> ListenerStore {
        let now = clock_gettime(ClockId::Monotonic);
        let name = format!("{NAME}{:x}.{:x}", now.tv_sec, now.tv_nsec);
        ListenerStore { manager, name }
    }

    /// Whether connections wait at the listeners when this process has ended.
    pub(super) fn is_used(&self) -> bool {
        self.manager.keeps_descriptors()
    }

    /// By which the service manager knows them.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Starts listening. A process that has no predecessor keeps the listeners at once; otherwise they
    /// are kept when that does not accept any more.
    pub(super) fn listen(
        &self,
        listeners: &BoundListeners,
        keep_at_once: bool,
    ) -> Result<(), BindError> {
        listeners.listen()?;
        if keep_at_once {
            self.replace(listeners);
        }
        Ok(())
    }

    /// Keeps these, in the place of what the store holds from former processes.
    fn replace(&self, listeners: &BoundListeners) {
        // A descriptor that is kept already keeps its old name: all of them are taken out first.
        for name in &listeners.kept_names {
            self.manager.release(name);
        }
        let sockets = listeners.workers.iter().flatten().map(|listener| listener.socket.as_fd());
        self.manager.keep(&self.name, &sockets.collect::<Vec<_>>());
    }

    /// Takes those of this process out, since another one serves at sockets of its own. Returns once
    /// that is done: the last holder of a socket must be a process that still accepts there.
    pub(super) async fn release(&self) {
        if !self.is_used() {
            return;
        }
        self.manager.release(&self.name);
        let manager = self.manager.clone();
        let _ = tokio::task::spawn_blocking(move || manager.wait()).await;
    }
}

/// Gives the service manager sockets to keep by this name.
pub(super) fn keep(manager: &ServiceManager, name: &str, sockets: &[OwnedFd]) {
    manager.keep(name, &sockets.iter().map(OwnedFd::as_fd).collect::<Vec<_>>());
}

/// Further handles of the listeners of workers, which outlive a borrow of them.
pub(super) fn handles<'l>(
    listeners: impl Iterator<Item = &'l Listener>,
) -> io::Result<Vec<OwnedFd>> {
    let of_workers = listeners.filter(|listener| listener.role == ListenerRole::Worker);
    of_workers.map(|listener| listener.socket.try_clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, os::unix::net::UnixListener};

    use super::*;
    use crate::listener::ListenSpec;

    fn inherited(name: &str, descriptor: impl Into<OwnedFd>) -> InheritedDescriptor {
        InheritedDescriptor { name: name.to_owned(), descriptor: descriptor.into() }
    }

    fn bound(address: SocketAddr) -> Listener {
        let spec = ListenSpec { addresses: vec![address], redirect_address: None };
        let listener = spec.bind_with(|_| None).unwrap().remove(0);
        listener.listen().unwrap();
        listener
    }

    fn address_of(listener: &Listener) -> SocketAddr {
        SockRef::from(&listener.socket).local_addr().unwrap().as_socket().unwrap()
    }

    #[test]
    fn kept_listeners_are_known_by_what_they_are_and_not_by_their_order() {
        let (one, other) =
            (bound("127.0.0.1:0".parse().unwrap()), bound("[::]:0".parse().unwrap()));
        let addresses = [address_of(&other), address_of(&one)];
        let mut kept = KeptListeners::of(vec![
            inherited("listeners.1", File::open("/dev/null").unwrap()),
            inherited("listeners.1", other.socket),
            inherited("listeners.2", one.socket),
        ]);
        assert_eq!(kept.len(), 2);
        assert_eq!(kept.names, ["listeners.1", "listeners.2"]);
        for address in addresses {
            assert!(kept.take(address).is_some() && kept.take(address).is_none());
        }
    }

    #[test]
    fn what_is_no_listener_of_ours_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        let unix = UnixListener::bind(directory.path().join("socket")).unwrap();
        let alone = TcpListener::bind("127.0.0.1:0").unwrap();
        let connected = std::net::TcpStream::connect(alone.local_addr().unwrap()).unwrap();
        let of_another = bound("127.0.0.1:0".parse().unwrap());
        let kept = KeptListeners::of(vec![
            inherited("listeners.1", unix),
            inherited("listeners.1", alone),
            inherited("listeners.1", connected),
            inherited("portcullis.socket", of_another.socket),
        ]);
        assert_eq!(kept.len(), 0);
    }

    #[test]
    fn the_kernel_tells_how_many_connections_wait() {
        let listener = bound("127.0.0.1:0".parse().unwrap());
        let address = address_of(&listener);
        let kept = KeptListeners::of(vec![inherited("listeners.1", listener.socket)]);
        assert_eq!(kept.waiting(), 0);
        let _clients = [(); 3].map(|()| std::net::TcpStream::connect(address).unwrap());
        assert_eq!(kept.waiting(), 3);
    }
}
