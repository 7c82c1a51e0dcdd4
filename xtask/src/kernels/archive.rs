//! An initramfs: a cpio archive in the format "newc" (the kernel's
//! `Documentation/driver-api/early-userspace/buffer-format.rst`).

use std::{collections::BTreeSet, path::Path};

const DIRECTORY: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;
const TRAILER: &str = "TRAILER!!!";

/// An archive that is being made. Paths are absolute; directories are made as files need them.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
    names: BTreeSet<String>,
}

impl Archive {
    /// Adds a directory, unless it is there.
    pub(super) fn directory(&mut self, path: &str) {
        // The outermost first: the kernel makes no parents of its own.
        let ancestors: Vec<_> = Path::new(path).ancestors().collect();
        for directory in ancestors.into_iter().rev() {
            let name = directory.to_string_lossy();
            let name = name.trim_start_matches('/');
            if !name.is_empty() {
                self.entry(name, DIRECTORY, &[]);
            }
        }
    }

    /// Adds a file, unless it is there.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.parent_of(path);
        self.entry(path.trim_start_matches('/'), FILE | permissions, content);
    }

    /// Adds a symbolic link, unless it is there.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.parent_of(path);
        self.entry(path.trim_start_matches('/'), LINK, to.as_bytes());
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn parent_of(&mut self, path: &str) {
        if let Some(parent) = Path::new(path).parent() {
            self.directory(&parent.to_string_lossy());
        }
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        if !self.names.insert(name.to_owned()) {
            return;
        }
        self.entries += 1;
        let (links, owner, group, time, device) = (1, 0, 0, 0, 0);
        let (content_len, name_len) = (content.len() as u32, name.len() as u32 + 1);
        let fields = [
            self.entries,
            mode,
            owner,
            group,
            links,
            time,
            content_len,
            device,
            device,
            device,
            device,
            name_len,
            0, // no checksum in this format
        ];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    /// Header and content end at a multiple of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Stdio};

    use super::*;
    use crate::command::command;

    #[test]
    fn a_directory_precedes_its_content() {
        let mut archive = Archive::default();
        archive.file("/a/b/c/program", 0o755, b"");
        let packed = archive.finish();
        let packed = String::from_utf8_lossy(&packed);
        let at = |name: &str| packed.find(&format!("{name}\0")).unwrap();
        assert!(at("a") < at("a/b") && at("a/b") < at("a/b/c") && at("a/b/c") < at("program"));
    }

    #[test]
    fn busybox_unpacks_what_was_packed() {
        let mut archive = Archive::default();
        archive.file("/a/b/program", 0o755, b"12345");
        archive.file("/a/b/program", 0o644, b"not this one");
        archive.link("/a/link", "b/program");
        archive.directory("/empty");
        let directory = tempfile::tempdir().unwrap();
        let packed = directory.path().join("packed");
        fs::write(&packed, archive.finish()).unwrap();
        let mut unpack = command("busybox");
        unpack.args(["cpio", "-i"]).current_dir(directory.path());
        unpack.stdin(Stdio::from(fs::File::open(&packed).unwrap()));
        assert!(unpack.output().unwrap().status.success());
        let at = |path: &str| directory.path().join(path);
        assert_eq!(fs::read(at("a/link")).unwrap(), b"12345");
        assert_eq!(fs::read_link(at("a/link")).unwrap(), Path::new("b/program"));
        assert!(at("empty").is_dir());
    }
}
