//! Directories whose watch has ended.
//!
//! If a directory is removed and made again at once, its inode may be the same, and inotify's watch of
//! the former one has ended all the same. So what events say of removals counts too.

use std::{
    collections::HashSet,
    path::{Path, PathBuf, absolute},
    sync::{Mutex, PoisonError},
};

use notify::{Event, EventKind, event::ModifyKind};

/// Far more than are removed during a load.
const MAX_PATHS: usize = 4096;

/// What was removed or renamed since it was asked for. Shared with the thread of inotify.
#[derive(Debug, Default)]
pub(super) struct GonePaths(Mutex<RemovedPaths>);

/// Paths that were removed or renamed.
#[derive(Debug, Default)]
pub(super) struct RemovedPaths {
    paths: HashSet<PathBuf>,
    /// Any path may be among them.
    is_any: bool,
}

impl GonePaths {
    /// Notes what an event says of removals. An error, or a queue that was full, may hide one.
    pub(super) fn note(&self, event: &notify::Result<Event>) {
        let mut removed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(event) if !event.need_rescan() => removed.note(event),
            _ => removed.is_any = true,
        }
    }

    /// Takes what was noted.
    pub(super) fn take(&self) -> RemovedPaths {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl RemovedPaths {
    fn note(&mut self, event: &Event) {
        let is_removal =
            matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        if !is_removal || self.is_any {
            return;
        }
        self.paths.extend(event.paths.iter().cloned());
        if self.paths.len() > MAX_PATHS {
            *self = RemovedPaths { paths: HashSet::new(), is_any: true };
        }
    }

    pub(super) fn has(&self, path: &Path) -> bool {
        // Events have absolute paths.
        self.is_any || absolute(path).is_ok_and(|path| self.paths.contains(&path))
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{CreateKind, Flag, RemoveKind};

    use super::*;

    fn noted(kind: EventKind) -> RemovedPaths {
        let gone = GonePaths::default();
        gone.note(&Ok(Event::new(kind).add_path("/a".into())));
        gone.take()
    }

    #[test]
    fn removals_and_what_may_hide_them_count() {
        let removed = noted(EventKind::Remove(RemoveKind::Folder));
        assert!(removed.has(Path::new("/a")) && !removed.has(Path::new("/b")));
        assert!(!noted(EventKind::Create(CreateKind::Folder)).has(Path::new("/a")));
        for hides in [
            Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)),
            Err(notify::Error::generic("x")),
        ] {
            let gone = GonePaths::default();
            gone.note(&hides);
            assert!(gone.take().has(Path::new("/b")));
        }
    }

    #[test]
    fn many_removals_stand_for_all() {
        let gone = GonePaths::default();
        for number in 0..=MAX_PATHS {
            let removal = Event::new(EventKind::Remove(RemoveKind::File));
            gone.note(&Ok(removal.add_path(format!("/{number}").into())));
        }
        assert!(gone.take().has(Path::new("/other")));
    }
}
