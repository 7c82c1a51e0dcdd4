//! Directories of tests.

use std::path::{Path, PathBuf};

/// The workspace's target directory, or the one that cargo was told to use.
pub fn target_dir() -> PathBuf {
    let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(default, PathBuf::from)
}

/// A directory of one test, removed with everything in it unless the test panics.
#[derive(Debug)]
pub struct TempDir {
    directory: tempfile::TempDir,
    path: PathBuf,
}

impl TempDir {
    /// Makes a directory; `name` helps people who inspect the files of a failed test.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(name: &str) -> Self {
        let parent = target_dir().join("test-runs");
        std::fs::create_dir_all(&parent).expect("a directory for all tests");
        let prefix = format!("{name}-");
        let directory = tempfile::Builder::new().prefix(&prefix).tempdir_in(parent);
        let directory = directory.expect("a directory for the test");
        // Peers that run as other users read files in it.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(directory.path(), mode).expect("let others read in it");
        let path = directory.path().canonicalize().expect("the directory just made");
        Self { directory, path }
    }

    /// The absolute path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it as one step (a new file renamed over the old one).
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        let new = self.path.join(format!(".{name}.new"));
        std::fs::write(&new, content).expect("write a file of the test");
        std::fs::rename(&new, &path).expect("move a file of the test");
        path
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.directory.disable_cleanup(true);
        }
    }
}
