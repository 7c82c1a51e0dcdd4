//! Whether the journal of systemd reads what is written.

use std::{env, fs::File, os::unix::fs::MetadataExt};

/// Whether `JOURNAL_STREAM` names this very file (systemd.exec(5)): a process that was started by a
/// service may have the variable, and another output.
pub(super) fn is_read_by_it(out: &File) -> bool {
    let stream = env::var("JOURNAL_STREAM").unwrap_or_default();
    out.metadata().is_ok_and(|file| names(&stream, file.dev(), file.ino()))
}

fn names(stream: &str, device: u64, inode: u64) -> bool {
    stream == format!("{device}:{inode}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_counts_only_if_it_names_the_output() {
        assert!(names("8:31", 8, 31));
        for stream in ["", "8", "8:32", "9:31", "8:31 "] {
            assert!(!names(stream, 8, 31), "{stream}");
        }
    }
}
