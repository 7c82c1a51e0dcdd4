//! Directories of tests.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

/// The workspace's target directory, or the one that cargo was told to use.
pub fn target_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// A directory of one test, removed with everything in it unless the test panics.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes a new one; `name` is for people who look at what a failed test left.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = target_dir().join(format!("test-runs/{}-{count}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory for the test");
        Self(dir.canonicalize().expect("the directory just made"))
    }

    /// Where it is, absolute.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it as one step (a new file renamed over the old one).
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        let new = self.0.join(format!(".{name}.new"));
        std::fs::write(&new, content).expect("write a file of the test");
        std::fs::rename(&new, &path).expect("move a file of the test");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
