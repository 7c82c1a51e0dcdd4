//! The npm package `oidc-provider`, a certified OpenID Connect provider, on loopback.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    curl::Curl,
    false_clock::FalseClock,
    installed::{installed, run_installer},
    pki::pki,
    ports::free_port,
    process::Process,
    tools::need,
};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/oidc-provider");

/// A running provider. Its keys, codes, tokens and sessions are gone when it ends.
#[derive(Debug)]
pub struct OidcProvider {
    process: Process,
    port: u16,
    site: String,
    settings: Value,
    env: Vec<(&'static str, String)>,
}

impl OidcProvider {
    /// A provider for the sign-in service at this origin, such as
    /// `https://authenticate.localhost.pomerium.io:8443`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(site: &str) -> Self {
        Self::with(site, json!({}))
    }

    /// Installs its packages, for a test that starts it where no registry is reached.
    ///
    /// # Panics
    /// When that fails.
    pub fn prepare() {
        provider_dir();
    }

    /// The same with settings of `peers/oidc-provider/server.mjs`.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with(site: &str, settings: Value) -> Self {
        Self::at(free_port(), site, settings)
    }

    /// The same on a port of the test's own, for a provider that is down at first.
    ///
    /// # Panics
    /// When it does not start.
    pub fn at(port: u16, site: &str, settings: Value) -> Self {
        Self::start_with(port, site, settings, Vec::new())
    }

    /// The same on any port, by a clock of the test's own.
    ///
    /// # Panics
    /// When it does not start.
    pub fn by_clock(clock: &FalseClock, site: &str, settings: Value) -> Self {
        Self::start_with(free_port(), site, settings, clock.env().into())
    }

    fn start_with(
        port: u16,
        site: &str,
        settings: Value,
        env: Vec<(&'static str, String)>,
    ) -> Self {
        let mut command = Command::new(need("node"));
        command.envs(env.iter().map(|(name, value)| (name, value)));
        command.arg(provider_dir().join("server.mjs"));
        command.args([&port.to_string(), site, &settings.to_string()]);
        let process = Process::spawn("oidc-provider", &mut command);
        process.wait_for_text("listening on");
        Self { process, port, site: site.to_owned(), settings, env }
    }

    /// Ends it and starts it anew: with other keys, and without any session or token.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn restart(self) -> Self {
        let (port, site, settings) = (self.port, self.site.clone(), self.settings.clone());
        let env = self.env.clone();
        drop(self);
        Self::start_with(port, &site, settings, env)
    }

    /// Its issuer, for `idp_provider_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Changes a user: `{"disabled": true}`, or claims such as `{"groups": ["dev"]}`; `null` takes a
    /// claim away.
    ///
    /// # Panics
    /// When the provider does not take it.
    pub fn set_user(&self, name: &str, change: &Value) {
        let url = format!("{}/control/users/{name}", self.url());
        let done = Curl::new(self.address(), &url).post(change.to_string()).ok();
        assert_eq!(done.status, 204, "{done:?}");
    }

    /// Answers a path with this status from now on, as a provider does that has a fault; `None` ends
    /// that.
    ///
    /// # Panics
    /// When the provider does not take it.
    pub fn fail(&self, path: &str, status: Option<u16>) {
        let url = format!("{}/control/failures", self.url());
        let change = json!({ path: status });
        let done = Curl::new(self.address(), &url).post(change.to_string()).ok();
        assert_eq!(done.status, 204, "{done:?}");
    }

    /// Says at which port of this machine the sign-in service is, for logout tokens.
    ///
    /// # Panics
    /// When the provider does not take it.
    pub fn set_site(&self, site: SocketAddr) {
        let url = format!("{}/control/site", self.url());
        let ca = std::fs::read_to_string(pki().ca()).expect("the CA");
        let place = json!({"port": site.port(), "ca": ca});
        let done = Curl::new(self.address(), &url).post(place.to_string()).ok();
        assert_eq!(done.status, 204, "{done:?}");
    }

    /// Waits for the site's answer to the logout token of this number, from 1 on: `logout USER success`,
    /// or an error.
    ///
    /// # Panics
    /// When none comes.
    pub fn logout(&self, number: usize) -> String {
        let mut seen = 0;
        self.process.wait_for("the answer to a logout token", 0, |line| {
            seen += usize::from(line.starts_with("logout "));
            (line.starts_with("logout ") && seen == number).then(|| line.to_owned())
        })
    }

    /// How many requests of a path were answered, such as `GET /jwks`.
    pub fn requests(&self, method_and_path: &str) -> usize {
        let begin = format!("{method_and_path} ");
        self.process.lines().iter().filter(|line| line.starts_with(&begin)).count()
    }

    /// How many tokens were granted to a user by a type of grant: `authorization_code` or
    /// `refresh_token`.
    pub fn grants(&self, grant_type: &str, user: &str) -> usize {
        let wanted = format!("grant {grant_type} {user}");
        self.process.lines().iter().filter(|line| **line == wanted).count()
    }

    /// The secrets that were in its grants so far, by their names: `code`, `code_verifier`,
    /// `access_token`, `refresh_token`, `id_token`.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let lines = self.process.lines();
        let secrets = lines.iter().filter_map(|line| line.strip_prefix("secret ")?.split_once(' '));
        secrets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The process, for its output and signals.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// An upstream that verifies the assertion of each request with the npm package `jose`, by the key
/// set that it fetches from the proxy over TLS.
#[derive(Debug)]
pub struct AssertionVerifier(Process);

impl AssertionVerifier {
    /// Listens on this port. The assertions it accepts are for this host.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(port: u16, proxy: SocketAddr, host: &str) -> Self {
        let mut command = Command::new(need("node"));
        command.arg(provider_dir().join("verify.mjs"));
        command.args([&port.to_string(), host, &proxy.port().to_string()]).arg(pki().ca());
        let process = Process::spawn("verify", &mut command);
        process.wait_for_text("listening on");
        Self(process)
    }

    /// The process, for its output.
    pub fn process(&self) -> &Process {
        &self.0
    }
}

/// A directory with the provider and the packages of its lock file.
fn provider_dir() -> PathBuf {
    let names = ["package-lock.json", "package.json", "server.mjs", "verify.mjs"];
    let contents = names.map(|name| std::fs::read(Path::new(PEER).join(name)).expect("the peer"));
    installed("oidc-provider", &contents.concat(), |dir| {
        for (name, content) in names.iter().zip(&contents) {
            std::fs::write(dir.join(name), content).expect("copy a file of the provider");
        }
        let mut npm = Command::new(need("npm"));
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        run_installer(npm.current_dir(dir), "it needs npm and a registry");
    })
}
