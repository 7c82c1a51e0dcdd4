//! The real Chromium, without a window.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    netns::Network,
    pki::{PKCS12_PASSWORD, pki},
    process::run,
    tempdir::TempDir,
    tools::need,
};

/// Runs a program with an `/etc/chromium` that contains only the test's policy and that only the
/// program sees. All its child processes end with it.
const UNDER_POLICY: &str = "mount -t tmpfs none /etc/chromium && \
     mkdir -p /etc/chromium/policies/managed && \
     printf %s \"$1\" >/etc/chromium/policies/managed/test.json && shift && exec \"$@\"";

/// A user's browser: a home directory that contains only certificates. It trusts
/// [`crate::Pki::ca`].
#[derive(Debug)]
pub struct Chromium {
    home: TempDir,
}

impl Chromium {
    /// A browser without any client certificate.
    ///
    /// # Panics
    /// When NSS's tools fail.
    pub fn new() -> Self {
        let chromium = Self { home: TempDir::new("chromium") };
        fs::create_dir_all(chromium.home.path().join(".pki/nssdb")).expect("a directory for NSS");
        chromium.nss("certutil", &["-N", "--empty-password"], &[]);
        chromium.nss("certutil", &["-A", "-n", "ca", "-t", "C,,"], &["-i".into(), pki().ca()]);
        chromium
    }

    /// Imports a certificate and its key, a PKCS #12 file with the password [`PKCS12_PASSWORD`].
    ///
    /// # Panics
    /// When NSS's tools fail.
    pub fn import(self, pkcs12: &Path) -> Self {
        self.nss("pk12util", &["-W", PKCS12_PASSWORD], &["-i".into(), pkcs12.to_owned()]);
        self
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn nss(&self, tool: &str, args: &[&str], files: &[PathBuf]) {
        let mut command = Command::new(need(tool));
        command.arg("-d").arg(format!("sql:{}", self.home.path().join(".pki/nssdb").display()));
        let done = run(command.args(args).args(files), b"");
        assert_eq!(done.code, Some(0), "{tool}: {}{}", done.stdout, done.stderr);
    }

    /// Opens `https://NAME/PATH` at an address and returns the page as HTML, or the error that
    /// Chromium shows instead, such as `net::ERR_FAILED`. If a server asks for a certificate, the
    /// first one that it accepts is sent, since no user can choose.
    ///
    /// It must run in a private network, so that it cannot contact its vendor.
    ///
    /// # Errors
    /// That error.
    ///
    /// # Panics
    /// When Chromium fails.
    pub fn open(
        &self,
        _network: &Network,
        name: &str,
        address: SocketAddr,
        path: &str,
    ) -> Result<String, String> {
        self.load(name, address, &format!("https://{name}{path}"))
    }

    /// Opens a page that contains an image of each of these hosts, which all have the same address.
    /// It must run in a private network.
    ///
    /// # Panics
    /// When Chromium fails.
    pub fn open_images(&self, _network: &Network, hosts: &[String], address: SocketAddr) {
        let image = |host: &String| format!("<img src=\"https://{host}/\">\n");
        let page = self.home.write("page.html", hosts.iter().map(image).collect::<String>());
        let loaded = self.load("*", address, &format!("file://{}", page.display()));
        loaded.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Loads a page, and everything that it contains; all names with this pattern have the address.
    fn load(&self, name: &str, address: SocketAddr, url: &str) -> Result<String, String> {
        let mut command = under_policy(&policy_to_choose(name), "chromium");
        // Its sandbox does not work for root.
        command.args(["--headless", "--no-sandbox", "--disable-gpu", "--timeout=30000"]);
        command.arg(format!("--user-data-dir={}", self.home.path().join("profile").display()));
        command.arg(format!("--host-resolver-rules=MAP {name}:443 {address}"));
        command.args(["--dump-dom", url]);
        command.env_clear().env("HOME", self.home.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        let done = run(&mut command, b"");
        assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
        let failed = done.stderr.lines().find_map(|line| line.split_once("Page load failed: "));
        failed.map_or(Ok(done.stdout), |(_, error)| Err(error.to_owned()))
    }
}

/// The program of Chromium or its driver, with this policy instead of the machine's.
pub(crate) fn under_policy(policy: &str, program: &str) -> Command {
    let mut command = Command::new(need("unshare"));
    command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]);
    command.args(["sh", "-c", UNDER_POLICY, "sh", policy]).arg(need(program));
    command
}

fn policy_to_choose(name: &str) -> String {
    let pattern = serde_json::json!({ "pattern": format!("https://{name}"), "filter": {} });
    serde_json::json!({ "AutoSelectCertificateForUrls": [pattern.to_string()] }).to_string()
}

impl Default for Chromium {
    fn default() -> Self {
        Self::new()
    }
}
