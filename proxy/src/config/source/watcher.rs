//! Notices that the content of a file has changed.
//!
//! Directories are watched, not files: an editor, `consul-template` and Kubernetes replace a file
//! or a symbolic link on the way to it. The content decides, so an event only triggers a
//! comparison. Files are also compared every ten seconds, because a bind mount, a network file
//! system or an exhausted inotify limit delivers no event.

mod gone;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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

use crate::config::{FileUsage, ReadFile, context::digest_limited};
use gone::GonePaths;

/// After this long without an event the writer is done: a certificate and its key are two writes.
const QUIET: Duration = Duration::from_millis(100);

/// The longest wait for quiet: another program may write to the directory all the time.
const MAX_QUIET: Duration = Duration::from_secs(2);

/// How many directories below each other may be made while they are looked for.
const MAX_DEPTH: usize = 40;

/// How often files are compared without an event.
const POLL: Duration = Duration::from_secs(10);

/// Time stamps may be this coarse, so the stamps of a younger file prove nothing.
const STAMP_GRAIN: Duration = Duration::from_secs(2);

/// Watches the files of a configuration. Everything blocks on the file system, so it runs on the
/// loader's thread.
#[derive(Debug)]
pub(super) struct Watcher {
    files: Vec<WatchedFile>,
    /// `None` if the system has no inotify instance left; files are then only polled.
    inotify: Option<RecommendedWatcher>,
    /// The watched directories, with the inode that had the name when the watch began.
    directories: BTreeMap<PathBuf, Inode>,
    /// Paths whose watch may have ended.
    gone: Arc<GonePaths>,
    event: Arc<Notify>,
}

#[derive(Debug)]
struct WatchedFile {
    path: PathBuf,
    usage: FileUsage,
    digest: Option<[u8; 32]>,
    /// The stamp that the file had with that digest, if the stamp is old enough to prove it.
    stamp: Option<Stamp>,
}

/// Device and inode.
type Inode = (u64, u64);

/// Attributes of which one changes whenever a file is replaced or written.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: Inode,
    bytes: u64,
    modified_ns: (i64, i64),
    changed_ns: (i64, i64),
}

impl Watcher {
    /// Starts watching the files that a load read. A file that has changed since then counts as
    /// changed.
    pub(super) fn new(files: Vec<ReadFile>) -> Watcher {
        let event = Arc::new(Notify::new());
        let wake = Arc::clone(&event);
        let gone = Arc::new(GonePaths::default());
        let noted = Arc::clone(&gone);
        let inotify = notify::recommended_watcher(move |event| {
            if may_change_content(&event) {
                noted.note(&event);
                wake.notify_one();
            }
        });
        let inotify = inotify
            .inspect_err(|error| {
                tracing::warn!(
                    %error,
                    "inotify is unavailable: changed files are noticed within 10 s by polling; see \
                     the sysctl fs.inotify.max_user_instances"
                );
            })
            .ok();
        let mut watcher =
            Watcher { files: Vec::new(), inotify, directories: BTreeMap::new(), gone, event };
        watcher.set_files(files);
        watcher
    }

    /// Replaces the watched files by those of another load.
    pub(super) fn set_files(&mut self, files: Vec<ReadFile>) {
        self.files = files
            .into_iter()
            .map(|file| {
                let ReadFile { path, digest, usage } = file;
                WatchedFile { path, usage, digest, stamp: None }
            })
            .collect();
        self.watch_directories();
    }

    /// Says that some of the files were read once more.
    pub(super) fn update_files(&mut self, files: Vec<ReadFile>) {
        let read: HashMap<_, _> = files.into_iter().map(|file| (file.path, file.digest)).collect();
        for file in &mut self.files {
            if let Some(digest) = read.get(&file.path) {
                file.digest = *digest;
                file.stamp = None;
            }
        }
    }

    /// Waits until the content of a file differs from what was read, or from what it was when this
    /// returned last. A file that appears or disappears differs. Returns the files that differ, as
    /// they are now. Cancel-safe.
    pub(super) async fn changed(&mut self) -> Vec<ReadFile> {
        loop {
            // Watch before comparing: a change in between is an event.
            self.watch_directories();
            let changed = self.take_changes();
            if !changed.is_empty() {
                return changed;
            }
            if timeout(POLL, self.event.notified()).await.is_ok() {
                self.quiet().await;
            }
        }
    }

    async fn quiet(&self) {
        let end = Instant::now() + MAX_QUIET;
        while Instant::now() < end && timeout(QUIET, self.event.notified()).await.is_ok() {}
    }

    /// The files that differ. The next call compares with the content as it is now.
    fn take_changes(&mut self) -> Vec<ReadFile> {
        self.files.iter_mut().filter_map(WatchedFile::take_change).collect()
    }

    /// Watches the directories as they are now. A directory that is made in one of them before it is
    /// watched is looked for once more.
    fn watch_directories(&mut self) {
        for _ in 0..MAX_DEPTH {
            if !self.watch_new_directories() {
                return;
            }
        }
    }

    /// Whether there were new ones.
    fn watch_new_directories(&mut self) -> bool {
        let Some(inotify) = &mut self.inotify else { return false };
        let gone = self.gone.take();
        let wanted: BTreeSet<PathBuf> =
            directories_of_all(self.files.iter().map(|file| &*file.path));
        self.directories.retain(|directory, inode| {
            let is_same = !gone.has(directory) && inode_of(directory) == Some(*inode);
            let keep = is_same && wanted.contains(directory);
            if !keep {
                // If the directory is gone, so is its watch.
                let _ = inotify.unwatch(directory);
            }
            keep
        });
        let mut has_new = false;
        for directory in wanted {
            if self.directories.contains_key(&directory) {
                continue;
            }
            let Some(inode) = inode_of(&directory) else { continue };
            match inotify.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    has_new = true;
                    self.directories.insert(directory, inode);
                }
                Err(error) => {
                    let directory = directory.display();
                    tracing::debug!(%directory, %error, "cannot watch a directory; it is polled");
                }
            }
        }
        has_new
    }
}

impl WatchedFile {
    fn take_change(&mut self) -> Option<ReadFile> {
        // Taken before the content is read: a later write changes the stamp.
        let stamp = Stamp::of(&self.path);
        if stamp.is_some() && stamp == self.stamp {
            return None;
        }
        let digest = digest_limited(&self.path).ok();
        self.stamp = stamp.filter(Stamp::is_settled);
        let differs = std::mem::replace(&mut self.digest, digest) != digest;
        differs.then(|| ReadFile { path: self.path.clone(), digest, usage: self.usage })
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

    /// Whether another write is certain to change it.
    fn is_settled(&self) -> bool {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed_ns.0).unwrap_or(u64::MAX));
        changed.checked_add(STAMP_GRAIN).is_some_and(|settled| settled < now)
    }
}

/// Whether an event may mean new content. Reading does not: our own reading would wake us forever.
/// An error may hide lost events.
fn may_change_content(event: &notify::Result<Event>) -> bool {
    match event {
        Ok(event) => match event.kind {
            EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
            _ => true,
        },
        Err(_) => true,
    }
}

/// Every directory in which a change may give the path other content: its own, and those that hold
/// a symbolic link on the way. For a missing directory, its nearest ancestor that exists.
fn directories_of(path: &Path) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut current = path.to_owned();
    // The kernel follows at most 40 links.
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

/// The same for many files: those of one directory, which are not links themselves, have the same.
fn directories_of_all<'a>(paths: impl Iterator<Item = &'a Path>) -> BTreeSet<PathBuf> {
    let mut directories = BTreeSet::new();
    let mut parents = HashSet::new();
    for path in paths {
        if fs::read_link(path).is_ok() || parents.insert(parent_of(path)) {
            directories.extend(directories_of(path));
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
