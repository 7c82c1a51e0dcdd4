//! Why a file cannot be read: who owns what, and as whom this process tries.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::accounts;

/// What to do about an error of reading the file at `path`, if that can be told.
pub(super) fn hint(path: &Path, error: &io::Error) -> Option<String> {
    match error.kind() {
        io::ErrorKind::NotFound if path.is_relative() => {
            let directory = std::env::current_dir().ok();
            let directory = directory.map(|it| format!(", {}", it.display())).unwrap_or_default();
            Some(format!("a relative path starts in the working directory{directory}"))
        }
        io::ErrorKind::PermissionDenied => Some(denied(path)),
        _ => None,
    }
}

/// The file itself is described, or the directory that cannot be entered.
fn denied(path: &Path) -> String {
    let user = accounts::shown(rustix::process::geteuid().as_raw());
    let described = path.ancestors().find_map(|ancestor| Some((ancestor, describe(ancestor)?)));
    match described {
        Some((found, owner)) if found == path => {
            format!("this process runs as user {user}; the file {owner}")
        }
        Some((found, owner)) => {
            format!("this process runs as user {user}; the directory {} {owner}", found.display())
        }
        None => format!("this process runs as user {user}"),
    }
}

fn describe(path: &Path) -> Option<String> {
    let metadata = fs::metadata(path).ok()?;
    let mode = metadata.mode() & 0o7777;
    let (owner, group) = (accounts::shown(metadata.uid()), metadata.gid());
    Some(format!("belongs to user {owner} and group {group}, with mode {mode:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_names_users_and_mode() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let hint = hint(file.path(), &io::ErrorKind::PermissionDenied.into()).unwrap();
        let user = accounts::shown(rustix::process::geteuid().as_raw());
        let begin =
            format!("this process runs as user {user}; the file belongs to user {user} and");
        assert!(hint.starts_with(&begin) && hint.ends_with("with mode 0600"), "{hint}");
    }
}
