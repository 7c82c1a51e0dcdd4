//! Free ports.
//!
//! It is not enough to ask the kernel for a port and to release it: the proxy listens with
//! `SO_REUSEPORT`, so two tests with the same port would share it without an error. Therefore a
//! locked file reserves a port until its test process ends, and the port is below the range that
//! the kernel uses for outgoing connections.

use std::{
    fs::File,
    net::TcpListener,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
};

const FIRST: u16 = 11_000;
const LAST: u16 = 31_999;

static NEXT: AtomicU16 = AtomicU16::new(0);
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// A port on which no socket listens, on IPv4 and IPv6, and that no other test gets.
///
/// # Panics
/// When there is none.
pub fn free_port() -> u16 {
    let start = std::process::id() % u32::from(LAST - FIRST);
    let dir = crate::tempdir::target_dir().join("test-ports");
    std::fs::create_dir_all(&dir).expect("a directory for locks of ports");
    for _ in FIRST..=LAST {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = u32::from(LAST - FIRST) + 1;
        let port = FIRST + u16::try_from((start * 37 + u32::from(offset)) % span).unwrap_or(0);
        let Ok(lock) = File::create(dir.join(port.to_string())) else { continue };
        if lock.try_lock().is_ok() && is_free(port) {
            HELD.lock().expect("no test panics here").push(lock);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {LAST}");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && TcpListener::bind(("::1", port)).is_ok()
}
