//! A wall clock that a test sets, for processes that it starts: Debian's libfaketime in front of the C
//! library. Only the time of day is false. Timeouts, which count from the start of the machine, are
//! true.

use std::{fs, path::PathBuf, time::Duration};

use crate::{tempdir::TempDir, tools::need};

/// A clock for all processes that are started with [`FalseClock::env`]. At first it is right.
#[derive(Debug)]
pub struct FalseClock {
    dir: TempDir,
    ahead: std::cell::Cell<Duration>,
}

const FILE: &str = "offset";

impl FalseClock {
    /// A clock that is right.
    ///
    /// # Panics
    /// When libfaketime is missing.
    pub fn new() -> Self {
        need("faketime");
        let dir = TempDir::new("clock");
        dir.write(FILE, "+0");
        Self { dir, ahead: Duration::ZERO.into() }
    }

    /// Puts the clock forward. Processes see it with their next look at the clock.
    pub fn advance(&self, by: Duration) {
        self.ahead.set(self.ahead.get() + by);
        self.dir.write(FILE, format!("+{}", self.ahead.get().as_secs()));
    }

    /// The variables for a process that goes by this clock.
    ///
    /// # Panics
    /// When libfaketime is not where Debian has it.
    pub fn env(&self) -> [(&'static str, String); 4] {
        [
            ("LD_PRELOAD", library().display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.dir.path().join(FILE).display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

impl Default for FalseClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Minutes, for [`FalseClock::advance`].
pub const fn minutes(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

fn library() -> PathBuf {
    let places = fs::read_dir("/usr/lib").expect("a directory of libraries").flatten();
    places
        .map(|place| place.path().join("faketime/libfaketimeMT.so.1"))
        .find(|path| path.is_file())
        .expect("libfaketime; install with: apt-get install faketime")
}
