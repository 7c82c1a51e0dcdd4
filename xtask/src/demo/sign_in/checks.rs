//! The claims of the sign-in demo, each as a check that fails if the claim is false.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

use super::{AUTHENTICATE_HOST, Certificates, HOST};
use crate::{
    admin,
    command::command,
    demo::{checks::report, place::Place},
};

/// The demo's place, its certificates and the browser's cookies.
struct Visit<'a> {
    place: &'a Place,
    certificates: &'a Certificates,
    /// The cookies of the demo's one browser.
    cookies: PathBuf,
}

/// The page on which curl ended.
struct Landed {
    url: String,
    status: String,
    body: String,
}

/// Runs all checks, prints the evidence of each, and fails if one is false.
pub(super) fn all(place: &Place, certificates: &Certificates) -> Result<()> {
    let cookies = place.directory.join("cookies");
    fs::write(&cookies, "")?;
    let visit = Visit { place, certificates, cookies };
    report(&[
        ("a program without a session gets 401 and no redirect", &|| visit.refuses_a_program()),
        ("a person signs in and ends at the very page asked for", &|| visit.signs_in()),
        ("the session lasts: no second password", &|| visit.is_known()),
        ("the proxy counts what it did", &|| visit.counts()),
    ])
}

impl Visit<'_> {
    fn refuses_a_program(&self) -> Result<String> {
        let landed = self.land(&self.page("/"), &["--header", "Accept: application/json"])?;
        ensure!(landed.status == "401", "status {}: {}", landed.status, landed.body);
        Ok(landed.body.trim().to_owned())
    }

    /// Follows the redirects to the provider, fills its form in, and follows the redirects back.
    fn signs_in(&self) -> Result<String> {
        let wanted = self.page("/hello?from=demo");
        let login = self.follow(&wanted, &[])?;
        ensure!(login.url.contains("/interaction/"), "not at the provider: {}", login.url);
        let fields = ["--data", "prompt=login&login=alice&password=any"];
        let landed = self.follow(&login.url, &fields)?;
        ensure!(landed.url == wanted, "ended at {}: {}", landed.url, landed.body);
        ensure!(landed.body.contains("\"verified\": true"), "the upstream says {}", landed.body);
        Ok(format!("{}\n{}", landed.url, landed.body.trim()))
    }

    fn is_known(&self) -> Result<String> {
        let landed = self.land(&self.page("/again"), &[])?;
        ensure!(landed.status == "200", "status {}: {}", landed.status, landed.body);
        let email = landed.body.lines().find(|line| line.contains("\"email\""));
        Ok(email.context("the upstream saw no address")?.trim().to_owned())
    }

    fn counts(&self) -> Result<String> {
        let metrics = admin::get(self.place.admin_port, "/metrics")?;
        let samples = admin::interesting(&metrics, &["sign_in", "provider", "session"]);
        ensure!(!samples.is_empty(), "no metric of sign-ins above zero");
        Ok(samples.join("\n"))
    }

    fn page(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.place.port)
    }

    fn follow(&self, url: &str, arguments: &[&str]) -> Result<Landed> {
        self.land(url, &[&["--location"], arguments].concat())
    }

    fn land(&self, url: &str, arguments: &[&str]) -> Result<Landed> {
        let mut curl = self.curl();
        let output = curl.args(arguments).arg(url).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "curl: {}: {said}", output.status);
        let said = String::from_utf8_lossy(&output.stdout);
        let (body, last) = said.rsplit_once('\n').context("curl printed nothing")?;
        let (status, url) = last.split_once(' ').context("curl printed no URL")?;
        Ok(Landed { url: url.to_owned(), status: status.to_owned(), body: body.to_owned() })
    }

    fn curl(&self) -> Command {
        let mut curl = command("curl");
        curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
        for host in [HOST, AUTHENTICATE_HOST] {
            curl.arg("--resolve").arg(format!("{host}:{}:127.0.0.1", self.place.port));
        }
        curl.arg("--cacert").arg(&self.certificates.root);
        curl.arg("--cookie").arg(&self.cookies).arg("--cookie-jar").arg(&self.cookies);
        curl.args(["--write-out", "\n%{http_code} %{url_effective}"]);
        curl
    }
}
