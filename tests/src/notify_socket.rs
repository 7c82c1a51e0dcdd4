//! The service manager's end of sd_notify(3): what a process tells it, and the descriptors that it is
//! given to keep.

use std::{
    collections::VecDeque,
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::{tempdir::TempDir, wait::eventually};

/// A datagram socket that a thread reads. Descriptors are kept by their names until they are removed,
/// and barriers are answered, as systemd does.
#[derive(Debug)]
pub struct NotifySocket {
    path: PathBuf,
    state: Arc<Mutex<Received>>,
    _dir: TempDir,
}

#[derive(Debug, Default)]
struct Received {
    messages: VecDeque<String>,
    kept: Vec<(String, OwnedFd)>,
}

impl NotifySocket {
    /// Starts to listen.
    ///
    /// # Panics
    /// When it cannot.
    pub fn start() -> Self {
        let dir = TempDir::new("notify");
        let path = dir.path().join("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("bind a socket");
        let state = Arc::<Mutex<Received>>::default();
        let received = Arc::clone(&state);
        thread::spawn(move || while receive(&socket, &received).is_some() {});
        Self { path, state, _dir: dir }
    }

    /// The value of `NOTIFY_SOCKET`.
    pub fn name(&self) -> String {
        self.path.display().to_string()
    }

    /// Waits for a message that has this line; gives the message, and drops those before it.
    ///
    /// # Panics
    /// When there is none before the deadline.
    pub fn wait_for(&self, line: &str) -> String {
        eventually(&format!("{line:?} from the process"), || {
            let messages = &mut self.lock().messages;
            let at = messages.iter().position(|message| message.lines().any(|it| it == line))?;
            messages.drain(..=at).next_back()
        })
    }

    /// The names of the descriptors that are kept, one for each.
    pub fn kept(&self) -> Vec<String> {
        self.lock().kept.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Takes all kept descriptors out, for the next process.
    pub fn take(&self) -> Vec<(String, OwnedFd)> {
        std::mem::take(&mut self.lock().kept)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Received> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `None` if the socket fails.
fn receive(socket: &UnixDatagram, received: &Mutex<Received>) -> Option<()> {
    let mut bytes = vec![0; 64 << 10];
    let mut space = vec![MaybeUninit::uninit(); 8 << 10];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut bytes)];
    let message = recvmsg(socket, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).ok()?;
    let text = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(rights) => Some(rights),
        _ => None,
    });
    let descriptors: Vec<OwnedFd> = descriptors.flatten().collect();
    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
    let has = |line: &str| text.lines().any(|it| it == line);
    let name = text.lines().find_map(|line| line.strip_prefix("FDNAME=")).unwrap_or("stored");
    if has("FDSTORE=1") {
        received.kept.extend(descriptors.into_iter().map(|it| (name.to_owned(), it)));
    } else if has("FDSTOREREMOVE=1") {
        received.kept.retain(|(kept, _)| kept != name);
    }
    // A barrier ends when its descriptor is closed, as it is now.
    received.messages.push_back(text);
    Some(())
}
