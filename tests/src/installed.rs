//! Peers that come from the registries of other languages: installed once into the target directory,
//! whichever test process is the first to need one.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tempdir::target_dir;

/// The directory of a peer, in which `install` was run for this `version`: any bytes that change when
/// it has to be installed anew, such as a lock file.
///
/// # Panics
/// When it cannot be made, or `install` panics.
pub fn installed(peer: &str, version: &[u8], install: impl FnOnce(&Path)) -> PathBuf {
    let parent = target_dir().join("test-peers");
    let dir = parent.join(peer);
    std::fs::create_dir_all(&dir).expect("a directory for the peer");
    let dir = dir.canonicalize().expect("the directory just made");
    let lock = File::create(parent.join(format!("{peer}.lock"))).expect("a lock of the directory");
    // Let go of when the file is closed.
    lock.lock().expect("wait for others that install");
    let done = dir.join("installed");
    if std::fs::read(&done).ok().as_deref() != Some(version) {
        install(&dir);
        std::fs::write(done, version).expect("note what is installed");
    }
    dir
}

/// Runs an installer to its end, which may take minutes where the network is slow.
///
/// # Panics
/// When it fails; `how` says what may be missing.
pub fn run_installer(command: &mut Command, how: &str) {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}; {how}"));
    let stderr = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{command:?} failed; {how}\n{stderr}");
}
