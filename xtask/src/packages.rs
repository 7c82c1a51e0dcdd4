//! The Debian packages that the commands need, and their installation.

use std::path::Path;

use anyhow::{Result, bail};

use crate::command::{command, is_installed, is_root, run};

/// A Debian package, and how to check that its files are present.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    probe: Probe,
}

#[derive(Debug, Clone, Copy)]
enum Probe {
    Program(&'static str),
    /// A file or a directory, if programs of the same name may come from elsewhere.
    Path(&'static str),
    /// A module of Debian's own Python, which another `python3` in `PATH` does not find.
    PythonModule(&'static str),
}

const OPENSSL: Package = Package { name: "openssl", probe: Probe::Program("openssl") };
const CURL: Package = Package { name: "curl", probe: Probe::Program("curl") };
const MKCERT: Package = Package { name: "mkcert", probe: Probe::Program("mkcert") };

const NODE: Package = Package { name: "nodejs", probe: Probe::Program("node") };
const NPM: Package = Package { name: "npm", probe: Probe::Program("npm") };
const NGINX: Package = Package { name: "nginx", probe: Probe::Program("nginx") };
const HAPROXY_SERVER: Package = Package { name: "haproxy", probe: Probe::Program("haproxy") };
const VALGRIND: Package = Package { name: "valgrind", probe: Probe::Program("valgrind") };
/// One program without libraries; it unpacks an archive in a test of this tool.
const BUSYBOX: Package = Package { name: "busybox-static", probe: Probe::Program("busybox") };
const LLVM: Package = Package { name: "llvm-22", probe: Probe::Program("llvm-profdata-22") };

/// The packages for `cargo xtask demo`.
pub(crate) const DEMO: &[Package] = &[OPENSSL, CURL, MKCERT];

/// The packages for `cargo xtask demo --sign-in`.
pub(crate) const SIGN_IN_DEMO: &[Package] = &[OPENSSL, CURL, MKCERT, NODE, NPM];

/// The packages for `cargo xtask dist`: the peers of the run, and the reader of its profile.
pub(crate) const DIST: &[Package] = &[MKCERT, NGINX, LLVM];

/// The packages for `cargo xtask package`.
pub(crate) const PACKAGE: &[Package] = &[
    Package { name: "binutils", probe: Probe::Program("strip") },
    Package { name: "ca-certificates", probe: Probe::Path("/etc/ssl/certs/ca-certificates.crt") },
    Package { name: "lintian", probe: Probe::Program("lintian") },
    Package { name: "mandoc", probe: Probe::Program("mandoc") },
    Package { name: "umoci", probe: Probe::Program("umoci") },
];

/// The packages for `cargo xtask conformance`.
pub(crate) const CONFORMANCE: &[Package] =
    &[MKCERT, NGINX, Package { name: "python3-pip", probe: Probe::Program("pip3") }];

/// The packages for `cargo xtask bench`; nginx is also the upstream.
pub(crate) const BENCH: &[Package] = &[
    OPENSSL,
    MKCERT,
    NGINX,
    Package { name: "iproute2", probe: Probe::Program("ip") },
    Package { name: "bpftool", probe: Probe::Program("bpftool") },
];

/// An optional peer of the benchmark.
pub(crate) const HAPROXY: &[Package] = &[HAPROXY_SERVER];

/// The optional counter of system calls.
pub(crate) const PERF: &[Package] =
    &[Package { name: "linux-perf", probe: Probe::Program("perf") }];

/// The packages to build the pingora peer.
pub(crate) const PINGORA: &[Package] = &[
    Package { name: "cmake", probe: Probe::Program("cmake") },
    Package { name: "gcc", probe: Probe::Program("gcc") },
];

/// The packages to count instructions.
pub(crate) const INSTRUCTIONS: &[Package] = &[VALGRIND];

/// The packages for the tests: the peers they run against.
pub(crate) const TEST: &[Package] = &[
    HAPROXY_SERVER,
    OPENSSL,
    CURL,
    MKCERT,
    BUSYBOX,
    Package { name: "chromium", probe: Probe::Program("chromium") },
    Package { name: "chromium-driver", probe: Probe::Program("chromedriver") },
    Package { name: "ethtool", probe: Probe::Program("ethtool") },
    Package { name: "faketime", probe: Probe::Program("faketime") },
    Package { name: "iproute2", probe: Probe::Program("ip") },
    Package { name: "kubernetes-client", probe: Probe::Program("kubectl") },
    Package { name: "libnss3-tools", probe: Probe::Program("certutil") },
    Package { name: "nghttp2-client", probe: Probe::Program("nghttp") },
    Package { name: "nghttp2-server", probe: Probe::Program("nghttpd") },
    NGINX,
    NODE,
    NPM,
    Package { name: "nftables", probe: Probe::Program("nft") },
    Package { name: "prometheus", probe: Probe::Program("promtool") },
    Package { name: "python3", probe: Probe::PythonModule("sys") },
    Package { name: "python3-grpcio", probe: Probe::PythonModule("grpc") },
    Package { name: "python3-venv", probe: Probe::PythonModule("ensurepip") },
    Package { name: "python3-websockets", probe: Probe::PythonModule("websockets") },
    VALGRIND,
];

/// The packages to build the kernel programs: a Rust with the core library for BPF, and LLVM for
/// the linker.
pub(crate) const EBPF: &[Package] = &[
    Package { name: "cargo-web", probe: Probe::Path("/usr/bin/cargo") },
    Package { name: "rustc-web", probe: Probe::Path("/usr/bin/rustc") },
    Package {
        name: "libstd-rust-web-dev-bpf",
        probe: Probe::Path("/usr/lib/rustlib/bpfel-unknown-none"),
    },
    Package { name: "libpolly-22-dev", probe: Probe::Path("/usr/lib/llvm-22/lib/libPolly.a") },
    Package { name: "llvm-22", probe: Probe::Path("/usr/lib/llvm-22/bin/llvm-strip") },
    Package { name: "llvm-22-dev", probe: Probe::Path("/usr/lib/llvm-22/include/llvm-c") },
];

/// The packages for `cargo xtask kernels`: an emulator, and the files of its guests.
pub(crate) const KERNELS: &[Package] = &[
    OPENSSL,
    CURL,
    MKCERT,
    BUSYBOX,
    Package { name: "binutils", probe: Probe::Program("strip") },
    Package { name: "ethtool", probe: Probe::Program("ethtool") },
    Package { name: "iproute2", probe: Probe::Program("ip") },
    Package { name: "nftables", probe: Probe::Program("nft") },
    Package { name: "qemu-system-x86", probe: Probe::Program("qemu-system-x86_64") },
    Package { name: "util-linux", probe: Probe::Program("prlimit") },
    Package { name: "xz-utils", probe: Probe::Program("xz") },
];

/// The packages for `cargo xtask supervised`: booted containers, and the tests' own tools.
pub(crate) const SUPERVISED: &[Package] = &[
    OPENSSL,
    MKCERT,
    Package { name: "binutils", probe: Probe::Program("strip") },
    Package { name: "debootstrap", probe: Probe::Program("debootstrap") },
    Package { name: "iproute2", probe: Probe::Program("ip") },
    Package { name: "systemd-container", probe: Probe::Program("systemd-nspawn") },
    Package { name: "util-linux", probe: Probe::Program("nsenter") },
];

/// Installs the missing packages as root; otherwise prints the command to run and fails.
pub(crate) fn ensure(packages: &[Package]) -> Result<()> {
    let missing: Vec<_> =
        packages.iter().filter(|package| !package.is_there()).map(|package| package.name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() || !is_installed("apt-get") {
        bail!("packages are missing; install them with:\n\n    {}\n", apt_line(&missing));
    }
    println!("Installing Debian packages: {}", missing.join(" "));
    install(&missing)?;
    match packages.iter().find(|package| !package.is_there()) {
        Some(package) => bail!("{} is installed, but its files are missing", package.name),
        None => Ok(()),
    }
}

/// Why a program is missing, with the command that installs it.
pub(crate) fn how_to_get(name: &str) -> String {
    format!("not installed; install it with: {}", apt_line(&[name]))
}

fn install(names: &[&str]) -> Result<()> {
    let script = include_str!("install.sh");
    run(command("sh").args(["-c", script, "install.sh"]).args(names))
}

fn apt_line(names: &[&str]) -> String {
    let install = "sudo apt-get install --no-install-recommends";
    format!("sudo apt-get update && {install} {}", names.join(" "))
}

impl Package {
    fn is_there(&self) -> bool {
        match self.probe {
            Probe::Program(program) => is_installed(program),
            Probe::Path(path) => Path::new(path).exists(),
            Probe::PythonModule(module) => {
                let import = format!("import {module}");
                let run = command("/usr/bin/python3").args(["-c", &import]).output();
                run.is_ok_and(|run| run.status.success())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_whose_program_is_absent_is_missing() {
        let absent = Package { name: "absent", probe: Probe::Program("no-such-program-anywhere") };
        let present = Package { name: "dash", probe: Probe::Program("sh") };
        assert!(!absent.is_there());
        assert!(present.is_there());
    }

    #[test]
    fn a_python_module_that_does_not_exist_is_missing() {
        let absent = Package { name: "absent", probe: Probe::PythonModule("no_such_module") };
        assert!(!absent.is_there());
    }

    #[test]
    fn the_line_to_run_names_every_missing_package() {
        assert_eq!(
            apt_line(&["curl", "mkcert"]),
            "sudo apt-get update && sudo apt-get install --no-install-recommends curl mkcert"
        );
    }
}
