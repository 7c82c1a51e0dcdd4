//! Canaille, an OpenID Connect provider by other authors and in another language than
//! [`crate::OidcProvider`]: it lists `none` among its algorithms, demands a nonce and signs with RSA.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    installed::{installed, run_installer},
    ports::free_port,
    process::{Finished, Process, run},
    tempdir::TempDir,
};

/// The version that the constraints were made with.
const PACKAGE: &str = "canaille[front,oidc,server,sqlite]==0.3.6";
const CONSTRAINTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/canaille/constraints.txt");
const PYTHON: &str = "/usr/bin/python3";

/// A running provider with one user and one client.
#[derive(Debug)]
pub struct Canaille {
    _process: Process,
    port: u16,
    _dir: TempDir,
}

impl Canaille {
    /// Its only user, whose address is `bob@example.com`.
    pub const USER: &str = "bob";
    /// The password of its user.
    pub const PASSWORD: &str = "correct-horse-battery";
    /// Its only client.
    pub const CLIENT: &str = "c";
    /// The secret of its client.
    pub const SECRET: &str = "s";

    /// A provider for the sign-in service at this origin.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(site: &str) -> Self {
        let (port, dir) = (free_port(), TempDir::new("canaille"));
        let canaille = program();
        let command = |arguments: &[&str]| {
            let mut command = Command::new(&canaille);
            command.args(arguments).current_dir(dir.path());
            command.env("CANAILLE_CONFIG", dir.path().join("canaille.toml"));
            command
        };
        let key = ok(run(&mut command(&["jwk", "create", "rsa"]), b"")).stdout;
        dir.write("canaille.toml", settings(port, &key));
        ok(run(&mut command(&["install"]), b""));
        ok(run(&mut command(&USER), b""));
        let callback = format!("{site}/oauth2/callback");
        let mut client = command(&CLIENT);
        client.args(["--client-uri", site, "--redirect-uris", &callback]);
        ok(run(&mut client, b""));
        // Else its tokens are for nobody.
        let audience = ["set", "client", Self::CLIENT, "--audience", Self::CLIENT];
        ok(run(&mut command(&audience), b""));
        let bind = format!("127.0.0.1:{port}");
        let process = Process::spawn("canaille", &mut command(&["run", "--bind", &bind]));
        process.wait_for_text("Running on");
        Self { _process: process, port, _dir: dir }
    }

    /// Its issuer, for `idp_provider_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }
}

const USER: [&str; 10] = [
    "create",
    "user",
    "--user-name",
    Canaille::USER,
    "--password",
    Canaille::PASSWORD,
    "--emails",
    "bob@example.com",
    "--family-name",
    "B",
];

const CLIENT: [&str; 22] = [
    "create",
    "client",
    "--client-id",
    Canaille::CLIENT,
    "--client-secret",
    Canaille::SECRET,
    "--client-name",
    "c",
    "--grant-types",
    "authorization_code",
    "--grant-types",
    "refresh_token",
    "--response-types",
    "code",
    "--scope",
    "openid",
    "--scope",
    "profile",
    "--scope",
    "email",
    "--token-endpoint-auth-method",
    "client_secret_basic",
];

/// The configuration; `key` is a private key as JSON, which is written as a table of TOML.
fn settings(port: u16, key: &str) -> String {
    let key: Value = serde_json::from_str(key.trim()).expect("a key as JSON");
    let members = key.as_object().expect("a key is an object").iter();
    let members: Vec<_> = members.map(|(name, value)| format!("{name} = {value}")).collect();
    format!(
        "SECRET_KEY = \"a test\"\nSERVER_NAME = \"127.0.0.1:{port}\"\n\
         PREFERRED_URL_SCHEME = \"http\"\n\n[CANAILLE]\nDATABASE = \"sql\"\n\n[CANAILLE_SQL]\n\
         DATABASE_URI = \"sqlite:///canaille.sqlite\"\n\n[CANAILLE_OIDC]\n\
         ACTIVE_JWKS = [{{ {} }}]\n",
        members.join(", ")
    )
}

/// The program, in a virtual environment of its own.
fn program() -> PathBuf {
    let constraints = std::fs::read(CONSTRAINTS).expect("the peer's constraints");
    let version = [PACKAGE.as_bytes(), &constraints].concat();
    installed("canaille", &version, install).join("bin/canaille")
}

fn install(dir: &Path) {
    let mut venv = Command::new(PYTHON);
    let how = "install with: apt-get install python3-venv";
    run_installer(venv.args(["-m", "venv", "--clear"]).arg(dir), how);
    let mut pip = Command::new(dir.join("bin/pip"));
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--constraint", CONSTRAINTS]);
    run_installer(pip.arg(PACKAGE), "it needs a registry");
}

fn ok(done: Finished) -> Finished {
    assert_eq!(done.code, Some(0), "{done:?}");
    done
}
