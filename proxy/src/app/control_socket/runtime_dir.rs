//! The directory for the sockets of running processes.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs::{self, DirBuilder},
    io,
    net::SocketAddr,
    os::unix::{
        fs::{DirBuilderExt, MetadataExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
};

use rustix::process::{Pid, test_kill_process};

use super::peer::{ROOT, is_trusted, own_uid};
use crate::regular_file;

/// Where the sockets of root's processes are, and of a service of that name.
const SERVICE_DIRECTORY: &str = "/run/portcullis";
/// More than any address.
const MAX_RECORD_BYTES: u64 = 256;
/// For its owner alone.
const MODE: u32 = 0o700;
/// The bits that let others add or remove files.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// Where the sockets of this user's processes are; `None` if the environment names no place.
pub(super) fn path() -> Option<PathBuf> {
    choose(own_uid(), |name| env::var_os(name))
}

/// A service manager's choice first, then the usual place.
fn choose(uid: u32, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(directories) = set("RUNTIME_DIRECTORY") {
        // systemd joins several with colons.
        return env::split_paths(&directories).next();
    }
    if uid == ROOT {
        return Some(PathBuf::from(SERVICE_DIRECTORY));
    }
    set("XDG_RUNTIME_DIR").map(|directory| Path::new(&directory).join("portcullis"))
}

/// The socket of a process.
pub(super) fn socket(directory: &Path, pid: u32) -> PathBuf {
    directory.join(format!("{pid}.sock"))
}

/// The file that names the administrative address of a process, for users who cannot read its
/// configuration.
fn admin_record(directory: &Path, pid: u32) -> PathBuf {
    directory.join(format!("{pid}.admin"))
}

/// Writes that file; `None` removes it.
pub(super) fn record_admin_address(directory: &Path, pid: u32, address: Option<SocketAddr>) {
    let file = admin_record(directory, pid);
    let written = match address {
        Some(address) => fs::write(&file, format!("{address}\n")),
        None => fs::remove_file(&file),
    };
    if let Err(error) = written
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::info!(file = %file.display(), %error, "cannot record the administrative address");
    }
}

/// The administrative addresses of processes that run: those of this user, or else of the service. A
/// process and the one that replaces it have the same.
pub(crate) fn recorded_admin_addresses() -> Vec<SocketAddr> {
    let own = path().map(|directory| records(&directory)).unwrap_or_default();
    let found = if own.is_empty() { records(Path::new(SERVICE_DIRECTORY)) } else { own };
    found.into_iter().collect()
}

fn records(directory: &Path) -> BTreeSet<SocketAddr> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    let record = |path: PathBuf| {
        process_of(&path, ".admin").filter(|pid| exists(*pid))?;
        let text = String::from_utf8(regular_file::read(&path, MAX_RECORD_BYTES).ok()?).ok()?;
        text.trim().parse().ok()
    };
    entries.filter_map(|entry| record(entry.ok()?.path())).collect()
}

/// Makes the directory if it does not exist.
///
/// Fails if another user could have put files there.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(MODE).create(directory) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => return made,
    }
    let metadata = fs::symlink_metadata(directory)?;
    let private = metadata.is_dir()
        && is_trusted(metadata.uid(), own_uid())
        && metadata.mode() & WRITABLE_BY_OTHERS == 0;
    if private {
        return Ok(());
    }
    let message = "is not a directory that only this user can write to";
    Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
}

/// Removes the sockets of processes that have ended without doing so.
pub(super) fn remove_stale(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_of_ended = |ending| process_of(&path, ending).is_some_and(|pid| !exists(pid));
        if is_of_ended(".admin") || is_of_ended(".sock") && is_dead(&path) {
            // Another process may have removed it just now.
            let _ = fs::remove_file(path);
        }
    }
}

/// The processes that have a socket there and have not ended.
pub(super) fn processes(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let processes = entries.filter_map(|entry| process_of(&entry.ok()?.path(), ".sock"));
    let running = processes.filter(|process| exists(*process));
    running.filter_map(|process| u32::try_from(process.as_raw_nonzero().get()).ok()).collect()
}

/// Whether nobody listens at a socket. A process that this one cannot see, in a container that
/// shares the directory, may.
pub(super) fn is_dead(socket: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    UnixStream::connect(socket).is_err_and(refused)
}

fn process_of(file: &Path, ending: &str) -> Option<Pid> {
    let pid = file.file_name()?.to_str()?.strip_suffix(ending)?;
    Pid::from_raw(pid.parse().ok().filter(|pid: &i32| *pid > 0)?)
}

fn exists(pid: Pid) -> bool {
    test_kill_process(pid) != Err(rustix::io::Errno::SRCH)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::PermissionsExt, net::UnixListener};

    use super::*;

    #[test]
    fn the_place_follows_the_service_manager_then_the_user() {
        let place = |uid, set: &[(&str, &str)]| {
            let value = |name: &str| set.iter().find(|(known, _)| *known == name);
            choose(uid, |name| value(name).map(|(_, value)| OsString::from(value)))
        };
        let set = [("RUNTIME_DIRECTORY", "/run/a:/run/b"), ("XDG_RUNTIME_DIR", "/run/user/7")];
        assert_eq!(place(0, &set), Some("/run/a".into()));
        assert_eq!(place(0, &set[1..]), Some("/run/portcullis".into()));
        assert_eq!(place(7, &set[1..]), Some("/run/user/7/portcullis".into()));
        assert_eq!(place(7, &[("RUNTIME_DIRECTORY", "")]), None);
    }

    #[test]
    fn a_new_directory_is_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("portcullis");
        make(&path).unwrap();
        make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, MODE);
    }

    #[test]
    fn a_directory_that_others_can_write_to_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
        assert_eq!(make(directory.path()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(make(&file).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn only_dead_sockets_of_dead_processes_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        // No process has an ID this high.
        let (stale, served, own) =
            [i32::MAX.unsigned_abs(), i32::MAX.unsigned_abs() - 1, std::process::id()]
                .map(|pid| socket(directory.path(), pid))
                .into();
        drop(UnixListener::bind(&stale).unwrap());
        drop(UnixListener::bind(&own).unwrap());
        let _listener = UnixListener::bind(&served).unwrap();
        fs::write(directory.path().join("other"), "").unwrap();
        remove_stale(directory.path());
        assert!(!stale.exists());
        assert!(served.exists() && own.exists() && directory.path().join("other").exists());
    }

    #[test]
    fn addresses_of_running_processes_are_found_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let (own, ended) = (std::process::id(), i32::MAX.unsigned_abs());
        let [address, former] = ["127.0.0.1:9464", "127.0.0.1:1"].map(|text| text.parse().unwrap());
        record_admin_address(directory.path(), own, Some(address));
        record_admin_address(directory.path(), ended, Some(former));
        fs::write(directory.path().join("1.admin"), "no address").unwrap();
        let found = Vec::from_iter(records(directory.path()));
        assert_eq!(found, [address]);
        remove_stale(directory.path());
        assert!(!admin_record(directory.path(), ended).exists());
        record_admin_address(directory.path(), own, None);
        assert!(!admin_record(directory.path(), own).exists());
    }
}
