//! Programs that the tests need. A missing one is a failure, never a skipped test.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// Programs by Debian package.
const PACKAGES: &[(&str, &str)] = &[
    ("certutil", "libnss3-tools"),
    ("chromedriver", "chromium-driver"),
    ("chromium", "chromium"),
    ("curl", "curl"),
    ("ethtool", "ethtool"),
    ("faketime", "faketime"),
    ("glewlwyd", "glewlwyd"),
    ("haproxy", "haproxy"),
    ("h2load", "nghttp2-client"),
    ("ip", "iproute2"),
    ("kubectl", "kubernetes-client"),
    ("mkcert", "mkcert"),
    ("nghttp", "nghttp2-client"),
    ("nghttpd", "nghttp2-server"),
    ("nft", "nftables"),
    ("nsenter", "util-linux"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("pk12util", "libnss3-tools"),
    ("prlimit", "util-linux"),
    ("promtool", "prometheus"),
    ("setarch", "util-linux"),
    ("strip", "binutils"),
    ("systemd-nspawn", "systemd-container"),
    ("setpriv", "util-linux"),
    ("sqlite3", "sqlite3"),
    ("unshare", "util-linux"),
];

/// Where a program is.
///
/// # Panics
/// When it is missing, with the line that installs it.
pub fn need(program: &str) -> PathBuf {
    let package =
        PACKAGES.iter().find(|(name, _)| *name == program).map_or(program, |(_, package)| package);
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is missing; install with: apt-get install {package}"))
}

/// Debian's own Python, which has the packages that `apt-get` installs for it.
///
/// # Panics
/// When a module the peers need cannot be imported, with the line that installs it.
pub fn python() -> &'static str {
    const PYTHON: &str = "/usr/bin/python3";
    static CHECKED: OnceLock<bool> = OnceLock::new();
    let has_all = *CHECKED.get_or_init(|| {
        Command::new(PYTHON)
            .args(["-c", "import websockets, grpc"])
            .status()
            .is_ok_and(|status| status.success())
    });
    assert!(
        has_all,
        "Python modules are missing; install with: \
         apt-get install python3 python3-websockets python3-grpcio"
    );
    PYTHON
}

/// Whether a test that only root can run may go on. Where it may not, `not run: …` is written
/// past the test runner's capture, so that nothing is skipped silently.
///
/// # Panics
/// When not root and `CI` is `true`: there, every test has to run.
#[must_use]
pub fn require_root(why: &str) -> bool {
    use std::io::Write;
    if rustix::process::geteuid().is_root() {
        return true;
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "this test needs root: {why}");
    let _ = writeln!(std::io::stderr(), "not run: {why}");
    false
}

/// Runs a program as another user, who can read the files of the test.
pub const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_read_search,+dac_override",
    "--ambient-caps=+dac_read_search,+dac_override",
];
