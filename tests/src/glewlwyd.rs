//! Glewlwyd, an OpenID Connect provider in C, as Debian packages it. Its login page is a program in
//! JavaScript over an interface of JSON, which [`Glewlwyd::log_in`] uses in its place.

use std::{net::SocketAddr, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{
    Curl, CurlBrowser, pki,
    ports::free_port,
    process::{Process, run},
    tempdir::TempDir,
    tools::need,
};

/// The package's own schema, with the administrator `admin`.
const SCHEMA: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PLUGIN: &str = include_str!("../peers/glewlwyd/plugin.json");

/// A running provider with one user and one client.
#[derive(Debug)]
pub struct Glewlwyd {
    _process: Process,
    port: u16,
    jar: String,
    _dir: TempDir,
}

impl Glewlwyd {
    /// Its only user, whose address is `alice@example.com`.
    pub const USER: &str = "alice";
    /// Its only client.
    pub const CLIENT: &str = "c";
    /// The secret of its client.
    pub const SECRET: &str = "the-secret";
    const PASSWORD: &str = "password";

    /// A provider for the sign-in service at this origin.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(site: &str) -> Self {
        let (port, dir) = (free_port(), TempDir::new("glewlwyd"));
        let database = dir.path().join("database");
        let schema = std::fs::read(SCHEMA).expect("the schema; apt-get install glewlwyd");
        let made = run(Command::new(need("sqlite3")).arg(&database), &schema);
        assert_eq!(made.code, Some(0), "{made:?}");
        let config = dir.write("config", settings(port, &database));
        let mut command = Command::new(need("glewlwyd"));
        command.arg("--config-file").arg(config);
        let process = Process::spawn("glewlwyd", &mut command);
        process.wait_for_text("Glewlwyd started on port");
        let jar = dir.write("administrator", "").display().to_string();
        let provider = Self { _process: process, port, jar, _dir: dir };
        provider.set_up(site);
        provider
    }

    fn set_up(&self, site: &str) {
        self.administer("POST", "/auth/", &json!({"username": "admin", "password": "password"}));
        let plugin = PLUGIN.replace("PORT", &self.port.to_string());
        let mut parameters: Value = serde_json::from_str(&plugin).expect("JSON");
        let key = pki().pair("rsa").key;
        let public =
            run(Command::new(need("openssl")).args(["rsa", "-pubout", "-in"]).arg(&key), b"");
        parameters["key"] = std::fs::read_to_string(&key).expect("a key").into();
        parameters["cert"] = public.stdout.into();
        let plugin = json!({"module": "oidc", "name": "oidc", "parameters": parameters});
        self.administer("POST", "/mod/plugin/", &plugin);
        let client = json!({
            "client_id": Self::CLIENT, "name": Self::CLIENT, "confidential": true, "enabled": true,
            "client_secret": Self::SECRET, "redirect_uri": [format!("{site}/oauth2/callback")],
            "authorization_type": ["code", "refresh_token"],
            "token_endpoint_auth_method": ["client_secret_basic"],
        });
        self.administer("POST", "/client/", &client);
        self.administer("POST", "/user/", &json!({
            "username": Self::USER, "name": "Alice", "email": "alice@example.com", "enabled": true,
            "password": Self::PASSWORD, "scope": ["openid"],
        }));
    }

    /// Its issuer, for `idp_provider_url`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/oidc", self.port)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// Logs the user in at the provider in this browser, and consents.
    ///
    /// # Panics
    /// When the provider refuses that.
    pub fn log_in(&self, browser: &mut CurlBrowser) {
        let password = json!({"username": Self::USER, "password": Self::PASSWORD});
        let consent = json!({"scope": "openid"});
        for (method, path, body) in [
            ("POST", "/auth/".to_owned(), password),
            ("PUT", format!("/auth/grant/{}/", Self::CLIENT), consent),
        ] {
            let url = format!("http://127.0.0.1:{}/api{path}", self.port);
            send(browser.request(&url), method, &body);
        }
    }

    /// Where a browser goes on whose user has logged in, when it was led to the login page.
    ///
    /// # Panics
    /// When it is not the URL of the login page.
    pub fn after_login(url: &str) -> String {
        let (_, query) = url.split_once("callback_url=").expect("the login page");
        let encoded = query.split('&').next().unwrap_or_default();
        format!("{}&g_continue", decoded(encoded))
    }

    fn administer(&self, method: &str, path: &str, body: &Value) {
        let url = format!("http://127.0.0.1:{}/api{path}", self.port);
        let curl = Curl::new(self.address(), &url);
        send(curl.args(["--cookie", &self.jar, "--cookie-jar", &self.jar]), method, body);
    }
}

fn send(curl: Curl, method: &str, body: &Value) {
    let curl = curl.args(["--request", method]).header("Content-Type: application/json");
    let done = curl.post(body.to_string()).ok();
    assert_eq!(done.status, 200, "{}", done.text());
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'%').then(|| after.get(..2)).flatten();
        let code = code.and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).expect("a URL")
}

fn settings(port: u16, database: &Path) -> String {
    let database = database.display();
    format!(
        "port={port}\nexternal_url=\"http://127.0.0.1:{port}\"\nlogin_url=\"login.html\"\n\
         api_prefix=\"api\"\nlog_mode=\"console\"\nlog_level=\"INFO\"\ncookie_domain=\"127.0.0.1\"\n\
         cookie_secure=0\nsession_expiration=2419200\nsession_key=\"SESSION\"\n\
         admin_session_authentication=\"cookie\"\nprofile_session_authentication=\"cookie\"\n\
         login_api_enabled=true\nadmin_scope=\"g_admin\"\nprofile_scope=\"g_profile\"\n\
         user_module_path=\"/usr/lib/glewlwyd/user\"\n\
         client_module_path=\"/usr/lib/glewlwyd/client\"\n\
         user_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"\n\
         plugin_module_path=\"/usr/lib/glewlwyd/plugin\"\nhash_algorithm=\"SHA512\"\n\
         database =\n{{\n  type = \"sqlite3\"\n  path = \"{database}\"\n}};\n"
    )
}
