//! The file for the state of a process. It takes its time: never called on the control thread while
//! it serves.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicBool, Ordering},
};

use ring::rand::SystemRandom;

use super::saved_state::SavedState;
use crate::{
    identity::seal::{SealPurpose, Seals},
    regular_file,
};

/// More than any process writes.
const MAX_BYTES: u64 = 256 << 20;
/// For its owner alone.
const MODE: u32 = 0o600;
/// The bits that let others read or change a file.
const OPEN_TO_OTHERS: u32 = 0o077;
/// Ends the name of a file that a later write should have replaced.
const STALE: &str = ".stale";

/// What was read.
pub(super) struct ReadState {
    pub(super) state: SavedState,
    /// Others than the owner may read or change the file.
    pub(super) is_open_to_others: bool,
    /// A later write has failed: sessions in it may have ended since.
    pub(super) is_stale: bool,
}

/// Why a file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum StateFileError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "neither the current secrets nor portcullis.sign_in.previous_secrets open it, or it is \
         damaged"
    )]
    Sealed,
    #[error("another version of portcullis wrote it")]
    Content,
    #[error("the state cannot be sealed")]
    Unsealed,
    #[error("it took too long")]
    Late,
}

impl StateFileError {
    /// Whether there is a file that tells this process nothing.
    pub(super) fn is_of_content(&self) -> bool {
        matches!(self, StateFileError::Sealed | StateFileError::Content)
    }
}

/// Reads a file, or the stale one if there is no other; `None` if there is none. `takes_over` says that
/// this process has the file from now on: one that tells it nothing is renamed to `*.unreadable`.
pub(super) fn read(
    path: &Path,
    seals: &Seals,
    takes_over: bool,
) -> Result<Option<ReadState>, StateFileError> {
    let aside = takes_over.then(|| beside(path, ".unreadable"));
    if let Some(read) = read_one(path, seals, aside.as_deref())? {
        return Ok(Some(read));
    }
    let stale = read_one(&beside(path, STALE), seals, aside.as_deref())?;
    Ok(stale.map(|read| ReadState { is_stale: true, ..read }))
}

fn read_one(
    path: &Path,
    seals: &Seals,
    aside: Option<&Path>,
) -> Result<Option<ReadState>, StateFileError> {
    let sealed = match regular_file::read(path, MAX_BYTES) {
        Ok(sealed) => sealed,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mode = fs::metadata(path)?.permissions().mode();
    match open(&sealed, seals) {
        Ok(state) => {
            let is_open_to_others = mode & OPEN_TO_OTHERS != 0;
            Ok(Some(ReadState { state, is_open_to_others, is_stale: false }))
        }
        Err(error) => {
            // The next write would destroy it, and the secrets may only be mistyped.
            aside.map_or(Ok(()), |aside| fs::rename(path, aside))?;
            Err(error)
        }
    }
}

fn open(sealed: &[u8], seals: &Seals) -> Result<SavedState, StateFileError> {
    let opened = seals.open_of_any_length(SealPurpose::StateFile, "", sealed);
    let content = opened.ok_or(StateFileError::Sealed)?.plaintext;
    SavedState::decode(&content).ok_or(StateFileError::Content)
}

/// Replaces a file: a reader sees the old content or the new one, whatever happens. The file stays if
/// this was given up meanwhile.
pub(super) fn write(
    path: &Path,
    seals: &Seals,
    state: &SavedState,
    given_up: &AtomicBool,
) -> Result<(), StateFileError> {
    let content = state.encode().ok_or(StateFileError::Unsealed)?;
    let sealed = seals.seal_raw(SealPurpose::StateFile, "", &content, &SystemRandom::new());
    let sealed = sealed.map_err(|_| StateFileError::Unsealed)?;
    // Its own: a process that is being replaced may still write.
    let temporary = beside(path, &format!(".new.{}", process::id()));
    remove(&temporary)?;
    // A new file: nobody can have put a link or a file of other rights in its place.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&temporary)?;
    file.write_all(&sealed)?;
    file.sync_all()?;
    if given_up.load(Ordering::Acquire) {
        fs::remove_file(&temporary)?;
        return Err(StateFileError::Late);
    }
    fs::rename(&temporary, path)?;
    remove(&beside(path, STALE))?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(())
}

/// Marks a file as one that a later write should have replaced: what ended by then is read from it,
/// and no session.
pub(super) fn mark_stale(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::rename(path, beside(path, STALE)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};

    use super::*;
    use crate::identity::{control::saved_state::tests::state, spec::SealSecret};

    fn seals(secret: u8, previous: &[u8]) -> Seals {
        let previous: Vec<_> = previous.iter().map(|byte| SealSecret([*byte; 32])).collect();
        Seals::new(&SealSecret([secret; 32]), None, &previous)
    }

    fn write_now(path: &Path) -> Result<(), StateFileError> {
        write(path, &seals(1, &[]), &state(), &AtomicBool::new(false))
    }

    #[test]
    fn a_state_is_written_for_its_owner_and_read_with_current_or_previous_secrets() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        assert!(read(&path, &seals(1, &[]), true).unwrap().is_none());
        for _ in 0..2 {
            write_now(&path).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, MODE);
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
        for good in [seals(1, &[]), seals(2, &[1])] {
            let read = read(&path, &good, true).unwrap().unwrap();
            assert_eq!(read.state.ended, state().ended);
            assert!(!read.is_open_to_others);
        }
        let sealed = fs::read(&path).unwrap();
        assert!(matches!(read(&path, &seals(2, &[]), false), Err(StateFileError::Sealed)));
        assert!(path.exists(), "another process still has it");
        assert!(matches!(read(&path, &seals(2, &[]), true), Err(StateFileError::Sealed)));
        assert!(!path.exists(), "the next write does not destroy it");
        assert_eq!(fs::read(directory.path().join("state.unreadable")).unwrap(), sealed);
        let holds = |text: &str| sealed.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds("refresh") && !holds("ann@example.com"));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_one_that_others_may_read_is_noted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        write_now(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read(&path, &seals(1, &[]), true).unwrap().unwrap().is_open_to_others);
        let whole = fs::read(&path).unwrap();
        for cut in [0, 1, 20, whole.len() - 1] {
            fs::write(&path, &whole[..cut]).unwrap();
            assert!(
                matches!(read(&path, &seals(1, &[]), true), Err(StateFileError::Sealed)),
                "{cut}"
            );
        }
        fs::create_dir(&path).unwrap();
        assert!(matches!(read(&path, &seals(1, &[]), true), Err(StateFileError::Io(_))));
    }

    #[test]
    fn what_is_in_the_way_of_a_write_is_neither_followed_nor_kept() {
        let directory = tempfile::tempdir().unwrap();
        let (path, other) = (directory.path().join("state"), directory.path().join("other"));
        fs::write(&other, "other").unwrap();
        symlink(&other, directory.path().join(format!("state.new.{}", process::id()))).unwrap();
        symlink(&other, &path).unwrap();
        write_now(&path).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "other");
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        assert!(kind.is_file() && !kind.is_fifo());
        assert!(read(&path, &seals(1, &[]), true).unwrap().is_some());
        let missing = directory.path().join("missing").join("state");
        assert!(matches!(write_now(&missing), Err(StateFileError::Io(_))));
    }

    #[test]
    fn a_file_that_was_not_replaced_is_read_as_a_stale_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        mark_stale(&path).unwrap();
        write_now(&path).unwrap();
        for _ in 0..2 {
            mark_stale(&path).unwrap();
            let stale = read(&path, &seals(1, &[]), true).unwrap().unwrap();
            assert!(stale.is_stale);
            assert_eq!(stale.state.ended, state().ended);
        }
        write_now(&path).unwrap();
        assert!(!read(&path, &seals(1, &[]), true).unwrap().unwrap().is_stale);
        let files: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "{files:?}");
    }

    #[test]
    fn a_write_that_was_given_up_leaves_the_file_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state");
        fs::write(&path, "of the next process").unwrap();
        let written = write(&path, &seals(1, &[]), &state(), &AtomicBool::new(true));
        assert!(matches!(written, Err(StateFileError::Late)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "of the next process");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
