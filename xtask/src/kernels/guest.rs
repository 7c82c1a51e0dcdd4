//! The files of a guest: the tests with the proxy, and the programs that they run.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{Tests, archive::Archive, debian::Kernel};
use crate::command::{cargo, command, path_of, said_by, target};

/// The programs that the tests run.
const PROGRAMS: [&str; 8] = ["curl", "ethtool", "ip", "nft", "openssl", "prlimit", "setpriv", "ss"];
/// The commands of busybox that [`INIT`] uses.
const APPLETS: [&str; 7] = ["sh", "mount", "insmod", "uname", "poweroff", "chmod", "timeout"];
/// The first process.
const INIT: &str = include_str!("init.sh");

/// Modules that the tests need, each after those that it needs.
const MODULES: [&str; 7] = [
    "crypto/crc32c_generic",
    "lib/libcrc32c",
    "net/netfilter/nfnetlink",
    "net/netfilter/nf_tables",
    "drivers/net/veth",
    "net/ipv4/inet_diag",
    "net/ipv4/tcp_diag",
];

/// What all guests have.
pub(super) struct Guest {
    files: Vec<(String, u32, Vec<u8>)>,
    /// A line for each program of tests: its name and its arguments.
    orders: String,
    /// The number of programs of tests.
    pub(super) programs: usize,
}

impl Guest {
    /// Builds the tests, and collects the files.
    pub(super) fn prepare(tests: &[Tests], wanted: Option<&str>) -> Result<Self> {
        let mut guest = Self { files: Vec::new(), orders: String::new(), programs: tests.len() };
        guest.add("/bin/busybox", &path_of("busybox").context("no busybox")?)?;
        for program in PROGRAMS {
            let path = path_of(program).with_context(|| format!("no {program}"))?;
            guest.program(&format!("/usr/bin/{program}"), &path)?;
        }
        guest.stripped("/target/debug/portcullis", &target().join("debug/portcullis"))?;
        for tests in tests {
            let program = executable(tests.program)?;
            guest.stripped(&format!("/tests/{}", tests.program), &program)?;
            let arguments = tests.arguments(wanted).join(" ");
            guest.orders += &format!("{} {arguments}\n", tests.program);
        }
        guest.tree("/target/test-pki", &target().join("test-pki"))?;
        Ok(guest)
    }

    /// The initramfs for a kernel.
    pub(super) fn archive(&self, kernel: &Kernel) -> Result<Vec<u8>> {
        let mut archive = Archive::default();
        for directory in ["/proc", "/sys", "/dev", "/tmp", "/run", "/etc", "/root"] {
            archive.directory(directory);
        }
        for applet in APPLETS {
            archive.link(&format!("/bin/{applet}"), "busybox");
        }
        for (path, permissions, content) in &self.files {
            archive.file(path, *permissions, content);
        }
        for (number, path) in MODULES.iter().enumerate() {
            if let Some(module) = kernel.module(path)? {
                archive.file(&format!("/modules/{number}.ko"), 0o644, &module);
            }
        }
        archive.file("/orders", 0o644, self.orders.as_bytes());
        archive.file("/etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n");
        archive.file("/etc/hosts", 0o644, b"127.0.0.1 localhost\n::1 localhost\n");
        archive.file("/init", 0o755, INIT.as_bytes());
        Ok(archive.finish())
    }

    fn add(&mut self, to: &str, from: &Path) -> Result<()> {
        let content = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.files.push((to.to_owned(), 0o755, content));
        Ok(())
    }

    /// A program and the libraries that it is linked with.
    fn program(&mut self, to: &str, from: &Path) -> Result<()> {
        self.add(to, from)?;
        for library in libraries(&said_by(command("ldd").arg(from))?) {
            self.add(library.to_str().context("a library's path")?, &library)?;
        }
        Ok(())
    }

    /// The same without debug information, which would be nine tenths of the image.
    fn stripped(&mut self, to: &str, from: &Path) -> Result<()> {
        let stripped = from.with_extension("stripped");
        let mut strip = command("strip");
        strip.arg("-o").arg(&stripped).arg(from);
        ensure!(strip.status()?.success(), "cannot strip {}", from.display());
        let added = self.program(to, &stripped);
        fs::remove_file(&stripped)?;
        added
    }

    /// A directory with all files in it.
    fn tree(&mut self, to: &str, from: &Path) -> Result<()> {
        let entries = fs::read_dir(from).with_context(|| from.display().to_string())?;
        for entry in entries.flatten() {
            let to = format!("{to}/{}", entry.file_name().to_string_lossy());
            match entry.file_type()?.is_dir() {
                true => self.tree(&to, &entry.path())?,
                false => self.add(&to, &entry.path())?,
            }
        }
        Ok(())
    }
}

/// Builds a program of tests.
fn executable(program: &str) -> Result<PathBuf> {
    let mut build = cargo("test --no-run --message-format json --package portcullis-tests --test");
    let said = said_by(build.arg(program))?;
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut executables = messages.filter_map(|message| {
        let is_it = message["target"]["name"] == program;
        Some(PathBuf::from(message["executable"].as_str().filter(|_| is_it)?))
    });
    executables.next().with_context(|| format!("cargo does not say where {program} is"))
}

/// The paths in the output of `ldd`.
fn libraries(said: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let word = line.split_whitespace().find(|word| word.starts_with('/'))?;
        Some(PathBuf::from(word))
    };
    said.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_the_path_in_its_line() {
        let said = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x3)\n";
        let expected = ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(libraries(said), expected);
    }
}
