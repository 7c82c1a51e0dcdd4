//! Noticing that a file of the configuration has changed.
//!
//! Directories are watched, not files: an editor, `consul-template` and Kubernetes replace a file
//! by another of its name, or a symbolic link on the way to it. What counts is the content, so an
//! event only makes us look. Where no event comes (a bind-mounted file, a network file system, no
//! inotify left) we look every ten seconds.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode},
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use super::{context::read_limited, model::ReadFile};
use crate::digest::sha256;

/// Without an event for so long, whoever is writing is done: a certificate and its key come as two.
const QUIET: Duration = Duration::from_millis(100);

/// The longest we wait for quiet, since somebody else may write in the directory all the time.
const QUIET_AT_LAST: Duration = Duration::from_secs(2);

/// How often we look without being told.
const POLL: Duration = Duration::from_secs(10);

/// Time stamps of files may be this coarse; of a younger file they prove nothing.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// Watches the files of a configuration.
pub struct Watcher {
    files: Vec<WatchedFile>,
    /// `None` where the system gives no inotify instance; then only the clock makes us look.
    inotify: Option<RecommendedWatcher>,
    /// Directories with the inode that is watched under their name.
    directories: BTreeMap<PathBuf, Inode>,
    event: Arc<Notify>,
}

struct WatchedFile {
    path: PathBuf,
    digest: Option<[u8; 32]>,
    /// The state in which it had that digest, where its stamps are old enough to prove it.
    stamp: Option<Stamp>,
}

/// Device and inode.
type Inode = (u64, u64);

/// What changes whenever a file is replaced or written.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: Inode,
    bytes: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

impl Watcher {
    /// Begins to watch. The files are those of [`super::Config::files`] or of
    /// [`super::Diagnostics::files`]; a file that has changed since it was read counts as changed.
    pub fn new(files: Vec<ReadFile>) -> Watcher {
        let event = Arc::new(Notify::new());
        let wake = Arc::clone(&event);
        let inotify = notify::recommended_watcher(move |event| {
            if may_change_content(&event) {
                wake.notify_one();
            }
        });
        let inotify = inotify
            .inspect_err(|error| tracing::warn!(%error, "files are polled, not watched"))
            .ok();
        let mut watcher =
            Watcher { files: Vec::new(), inotify, directories: BTreeMap::new(), event };
        watcher.set_files(files);
        watcher
    }

    /// Watches other files from now on: those of the load that a change led to.
    pub fn set_files(&mut self, files: Vec<ReadFile>) {
        self.files = files
            .into_iter()
            .map(|file| WatchedFile { path: file.path, digest: file.digest, stamp: None })
            .collect();
        self.watch_directories();
    }

    /// Waits until the content of a file differs from what it was when it was read, or when this
    /// returned last. A file that has come or gone differs. May be dropped while it waits.
    pub async fn changed(&mut self) {
        loop {
            // First watch, then look: what changes in between is an event.
            self.watch_directories();
            if self.take_changes() {
                return;
            }
            if timeout(POLL, self.event.notified()).await.is_ok() {
                self.quiet().await;
            }
        }
    }

    async fn quiet(&self) {
        let end = Instant::now() + QUIET_AT_LAST;
        while Instant::now() < end && timeout(QUIET, self.event.notified()).await.is_ok() {}
    }

    /// Whether any file differs; what it is now is what it is compared with next.
    fn take_changes(&mut self) -> bool {
        let mut any = false;
        for file in &mut self.files {
            any |= file.take_change();
        }
        any
    }

    fn watch_directories(&mut self) {
        let Some(inotify) = &mut self.inotify else { return };
        let wanted: BTreeSet<PathBuf> =
            self.files.iter().flat_map(|file| directories_of(&file.path)).collect();
        self.directories.retain(|directory, inode| {
            let keep = wanted.contains(directory) && inode_of(directory) == Some(*inode);
            if !keep {
                // It may be gone already, and its watch with it.
                let _ = inotify.unwatch(directory);
            }
            keep
        });
        for directory in wanted {
            if self.directories.contains_key(&directory) {
                continue;
            }
            let Some(inode) = inode_of(&directory) else { continue };
            match inotify.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory, inode);
                }
                Err(error) => {
                    let directory = directory.display();
                    tracing::debug!(%directory, %error, "polled, not watched");
                }
            }
        }
    }
}

impl WatchedFile {
    fn take_change(&mut self) -> bool {
        // Before the content: a write in between leaves a stamp that no longer fits.
        let stamp = Stamp::of(&self.path);
        if stamp.is_some() && stamp == self.stamp {
            return false;
        }
        let digest = read_limited(&self.path).ok().map(|content| sha256(&content));
        self.stamp = stamp.filter(Stamp::is_settled);
        std::mem::replace(&mut self.digest, digest) != digest
    }
}

impl Stamp {
    fn of(path: &Path) -> Option<Stamp> {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            inode: (metadata.dev(), metadata.ino()),
            bytes: metadata.len(),
            modified_ns: (metadata.mtime(), metadata.mtime_nsec()),
            changed_ns: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }

    /// Whether a further write would surely change it.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed_ns.0).unwrap_or(u64::MAX));
        changed.checked_add(STAMP_GRAIN).is_some_and(|settled| settled < now)
    }
}

/// All but reading: we read the files ourselves, and would wake ourselves for ever. An error may
/// stand for events that were lost.
fn may_change_content(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        Err(_) => true,
    }
}

/// Every directory in which a change may give the path another content: the one it is in, and those
/// that hold a symbolic link on the way. Of what is missing, the nearest directory that is there.
fn directories_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut current = path.to_owned();
    // As many links as the kernel follows.
    for _ in 0..40 {
        directories.extend(existing_directory(parent_of(&current)));
        match first_link(&current) {
            Some((link, resolved)) => {
                directories.insert(parent_of(&link).to_owned());
                current = resolved;
            }
            None => break,
        }
    }
    directories
}

/// The first symbolic link in a path, and the path with that link followed.
fn first_link(path: &Path) -> Option<(PathBuf, PathBuf)> {
    let mut walked = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        walked.push(component);
        if !matches!(component, Component::Normal(_)) {
            continue;
        }
        if let Ok(target) = fs::read_link(&walked) {
            let resolved = parent_of(&walked).join(target).join(components.as_path());
            return Some((walked, resolved));
        }
    }
    None
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn existing_directory(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .map(|ancestor| if ancestor.as_os_str().is_empty() { Path::new(".") } else { ancestor })
        .find(|ancestor| ancestor.is_dir())
        .map(Path::to_owned)
}

fn inode_of(path: &Path) -> Option<Inode> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
