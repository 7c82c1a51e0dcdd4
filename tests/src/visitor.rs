//! A browser for a provider that asks nothing, such as [`BadProvider`]: curl follows every redirect
//! by itself.

use std::{net::SocketAddr, path::PathBuf};

use crate::{
    BadProvider, Proxy,
    curl::{Curl, Fetched},
    tempdir::TempDir,
};

/// One person's browser.
#[derive(Debug)]
pub struct Visitor {
    jar: PathBuf,
    proxy: SocketAddr,
    provider: SocketAddr,
    _dir: TempDir,
}

impl Visitor {
    /// A browser without any cookie.
    pub fn new(proxy: &Proxy, provider: &BadProvider) -> Self {
        let dir = TempDir::new("visitor");
        let (proxy, provider) = (proxy.address(), provider.address());
        Self { jar: dir.write("cookies", ""), proxy, provider, _dir: dir }
    }

    /// Opens a path of `https://HOST.localhost.pomerium.io` and goes wherever it is led.
    ///
    /// # Panics
    /// When a transfer is not complete.
    pub fn open(&self, host: &str, path: &str) -> Fetched {
        self.curl(host, path).ok()
    }

    /// The same, to add to.
    pub fn curl(&self, host: &str, path: &str) -> Curl {
        let url = format!("https://{host}.localhost.pomerium.io{path}");
        let jar = self.jar.display().to_string();
        let curl = Curl::following(self.proxy, self.provider, &url);
        curl.args(["--cookie", &jar, "--cookie-jar", &jar])
    }

    /// Whether it holds a session of any host. The cookie that binds a sign-in to it is none.
    pub fn holds_session(&self) -> bool {
        let jar = std::fs::read_to_string(&self.jar).unwrap_or_default();
        jar.lines().any(|line| line.contains("\t_pomerium"))
    }

    /// The cookie of a host that binds a sign-in to this browser, as a `Cookie` field has it.
    ///
    /// # Panics
    /// When it has none.
    pub fn binding(&self, host: &str) -> String {
        let jar = std::fs::read_to_string(&self.jar).unwrap_or_default();
        let of_host = |line: &&str| line.contains(&format!("{host}.localhost.pomerium.io\t"));
        let line = jar.lines().filter(of_host).find(|line| line.contains("_csrf\t"));
        let fields: Vec<_> = line.expect("a cookie of this host").split('\t').collect();
        format!("{}={}", fields[5], fields[6])
    }
}
