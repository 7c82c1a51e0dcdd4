//! The protocol as a service manager sees it: a datagram socket of this test.

use std::{io::IoSliceMut, mem::MaybeUninit, os::unix::net::UnixDatagram, thread};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use tempfile::TempDir;

use super::*;

/// The receiving end.
struct Manager {
    socket: UnixDatagram,
    _directory: TempDir,
}

impl Manager {
    fn start() -> (Manager, ServiceManager) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let told = NotifySocket::new(path.as_os_str()).unwrap();
        let told = ServiceManager { socket: Some(Arc::new(told)), keeps_descriptors: true };
        (Manager { socket, _directory: directory }, told)
    }

    /// The next message, and how many descriptors came with it; they are closed.
    fn next(&self) -> (String, usize) {
        let mut bytes = [0; 4096];
        let mut space = vec![MaybeUninit::uninit(); 8192];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(&self.socket, &mut parts, &mut control, RecvFlags::empty()).unwrap();
        let descriptors = control.drain().map(|message| match message {
            RecvAncillaryMessage::ScmRights(rights) => rights.count(),
            _ => 0,
        });
        let count = descriptors.sum();
        (String::from_utf8(bytes[..received.bytes].to_vec()).unwrap(), count)
    }

    fn text(&self) -> String {
        self.next().0
    }
}

#[test]
fn each_state_is_a_message_with_its_variables() {
    let (manager, told) = Manager::start();
    told.ready("serves\nMAINPID=1");
    assert_eq!(manager.text(), "READY=1\nSTATUS=serves MAINPID=1");
    told.reloading();
    let reloading = manager.text();
    let time_us = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time_us.parse::<u64>().unwrap() > 0);
    told.stopping("drains", Duration::from_secs(2));
    assert_eq!(manager.text(), "STOPPING=1\nSTATUS=drains");
    assert_eq!(manager.text(), "EXTEND_TIMEOUT_USEC=2000000");
    told.main_process(7);
    assert_eq!(manager.text(), "MAINPID=7");
}

#[test]
fn descriptors_are_kept_by_name_and_in_parts_that_the_kernel_takes() {
    let (manager, told) = Manager::start();
    let descriptor = std::fs::File::open("/dev/null").unwrap();
    told.keep("listeners.1", &[descriptor.as_fd(); MAX_DESCRIPTORS + 1]);
    let stored = "FDSTORE=1\nFDPOLL=0\nFDNAME=listeners.1".to_owned();
    assert_eq!(manager.next(), (stored.clone(), MAX_DESCRIPTORS));
    assert_eq!(manager.next(), (stored, 1));
    told.release("listeners.1");
    assert_eq!(manager.next(), ("FDSTOREREMOVE=1\nFDNAME=listeners.1".to_owned(), 0));
}

#[test]
fn a_manager_that_keeps_nothing_gets_no_descriptors() {
    let (manager, mut told) = Manager::start();
    told.keeps_descriptors = false;
    let descriptor = std::fs::File::open("/dev/null").unwrap();
    told.keep("listeners.1", &[descriptor.as_fd()]);
    told.release("listeners.1");
    told.status("next");
    assert_eq!(manager.next(), ("STATUS=next".to_owned(), 0));
}

#[test]
fn a_barrier_ends_once_the_manager_has_read_everything() {
    let (manager, told) = Manager::start();
    told.status("before");
    let waiting = thread::spawn(move || told.wait());
    assert_eq!(manager.text(), "STATUS=before");
    assert!(!waiting.is_finished());
    assert_eq!(manager.next(), ("BARRIER=1".to_owned(), 1));
    waiting.join().unwrap();
}

#[test]
fn an_abstract_socket_is_told_too_and_other_names_are_errors() {
    use std::os::linux::net::SocketAddrExt as _;
    let name = format!("portcullis-test-{}", process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    NotifySocket::new(format!("@{name}").as_ref()).unwrap().send("READY=1", &[]).unwrap();
    let mut bytes = [0; 16];
    assert_eq!(socket.recv(&mut bytes).unwrap(), "READY=1".len());
    for name in ["", "relative", "vsock:2:1234"] {
        assert!(NotifySocket::new(name.as_ref()).is_err(), "{name:?}");
    }
}

#[test]
fn the_watchdog_hears_of_a_process_only_while_every_worker_moves() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (manager, told) = Manager::start();
        manager.socket.set_nonblocking(true).unwrap();
        let is_alive = || manager.socket.recv(&mut [0; 64]).is_ok();
        let mut watchdog = ServiceWatchdog::with(told.clone(), Some(Duration::from_secs(30)));
        watchdog.due().await;
        for (counts, expected) in [
            (&[(0, 1), (1, 1)][..], true),
            (&[(0, 2), (1, 2)], true),
            (&[(0, 3), (1, 2)], false),
            (&[(0, 4), (1, 3)], true),
            // Worker 1 has ended.
            (&[(0, 5)], true),
            (&[(0, 5)], false),
        ] {
            watchdog.look(counts);
            assert_eq!(is_alive(), expected, "{counts:?}");
        }
        let mut without = ServiceWatchdog::with(told, None);
        let waited = tokio::time::timeout(Duration::from_secs(600), without.due()).await;
        assert!(waited.is_err());
    });
}
