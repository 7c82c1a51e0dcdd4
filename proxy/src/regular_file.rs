//! Reading regular files, and nothing else: a FIFO, a device or a socket may never end, or never
//! begin.

use std::{
    fs::{self, File, FileType},
    io::{self, Read},
    os::unix::fs::FileTypeExt,
    path::Path,
};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
};

/// Reads a whole file.
///
/// Fails if `path` is not a regular file, or if the file is larger than `max_bytes`.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    // A length that is not true costs no more than a vector that grows.
    let len = file.metadata()?.len().min(max_bytes).saturating_add(1);
    let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > max_bytes {
        return Err(too_large(max_bytes));
    }
    Ok(content)
}

/// Takes a whole file in parts, so that a large one is never in memory.
///
/// Fails as [`read`] does.
pub(crate) fn read_parts(
    path: &Path,
    max_bytes: u64,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut file = open_regular(path)?.take(max_bytes.saturating_add(1));
    let mut part = vec![0; 16 << 10];
    loop {
        let count = file.read(&mut part)?;
        if count == 0 {
            break;
        }
        take(part.get(..count).unwrap_or_default());
    }
    if file.limit() == 0 { Err(too_large(max_bytes)) } else { Ok(()) }
}

fn too_large(max_bytes: u64) -> io::Error {
    let message = format!("is larger than {} MiB", max_bytes >> 20);
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

/// Opens first and asks for the type afterwards, so that nobody can swap the file in between.
fn open_regular(path: &Path) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO waits for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match open(path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(error) => return Err(explain(path, error)),
    };
    let file_type = file.metadata()?.file_type();
    if file_type.is_file() { Ok(file) } else { Err(not_regular(file_type)) }
}

/// A socket, or a device without a driver, cannot be opened at all.
fn explain(path: &Path, error: Errno) -> io::Error {
    match fs::metadata(path) {
        Ok(metadata) if error == Errno::NXIO => not_regular(metadata.file_type()),
        _ => error.into(),
    }
}

fn not_regular(file_type: FileType) -> io::Error {
    let message = format!("is {}, not a regular file", name(file_type));
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

fn name(file_type: FileType) -> &'static str {
    if file_type.is_fifo() {
        "a FIFO"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_dir() {
        "a directory"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else {
        "a file of unknown type"
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixListener, path::PathBuf};

    use rustix::fs::{CWD, FileType as Kind, mknodat};

    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path =
                std::env::temp_dir().join(format!("portcullis-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn refusal(path: &Path) -> String {
        read(path, 1 << 20).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_a_regular_file_is_refused_by_its_type() {
        let directory = Directory::new("types");
        let fifo = directory.0.join("fifo");
        mknodat(CWD, &fifo, Kind::Fifo, Mode::RUSR, 0).unwrap();
        let socket = directory.0.join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for (path, kind) in [
            (fifo.as_path(), "a FIFO"),
            (&socket, "a socket"),
            (&directory.0, "a directory"),
            (Path::new("/dev/zero"), "a device"),
        ] {
            assert_eq!(refusal(path), format!("is {kind}, not a regular file"));
        }
    }

    #[test]
    fn a_link_to_a_fifo_is_refused_and_one_to_a_file_is_read() {
        let directory = Directory::new("links");
        let (fifo, file) = (directory.0.join("fifo"), directory.0.join("file"));
        mknodat(CWD, &fifo, Kind::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(&file, "content").unwrap();
        for (target, name) in [(&fifo, "to-fifo"), (&file, "to-file")] {
            std::os::unix::fs::symlink(target, directory.0.join(name)).unwrap();
        }
        assert_eq!(refusal(&directory.0.join("to-fifo")), "is a FIFO, not a regular file");
        assert_eq!(read(&directory.0.join("to-file"), 7).unwrap(), b"content");
    }

    #[test]
    fn a_file_over_the_limit_is_refused() {
        let directory = Directory::new("limit");
        let file = directory.0.join("file");
        fs::write(&file, vec![0; (1 << 20) + 1]).unwrap();
        assert_eq!(refusal(&file), "is larger than 1 MiB");
        assert_eq!(read(&file, 2 << 20).unwrap().len(), (1 << 20) + 1);
    }
}
