//! The claims of the demo, each as a check that fails if the claim is false.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{HOST, PROXY_NAME, Place, admin, pki::Pki};
use crate::command::command;

/// The number of sample lines that are printed; curl shows the rest.
const SAMPLES_SHOWN: usize = 15;

/// Returns the evidence, or the reason why the claim is false.
type Check<'a> = &'a dyn Fn() -> Result<String>;

/// Runs all checks, prints the evidence of each, and fails if one is false.
pub(super) fn all(place: &Place, pki: &Pki) -> Result<()> {
    report(&[
        ("a client with a certificate is served", &|| is_served(place, pki)),
        ("the upstream sees the proxy's own client certificate", &|| names_the_proxy(place, pki)),
        ("a client without a certificate gets a page that asks for one", &|| {
            refuses_the_unknown(place, pki)
        }),
        ("a client that returns resumes its session", &|| resumes_for_the_client(place, pki)),
        ("the proxy resumes its session with the upstream", &|| {
            resumes_with_the_upstream(place, pki)
        }),
        ("the proxy counts what it did and shows its state", &|| counts_and_shows_state(place)),
    ])
}

/// Runs the checks of these claims, prints the evidence of each, and fails if one is false.
pub(super) fn report(checks: &[(&str, Check<'_>)]) -> Result<()> {
    println!();
    let mut failures = 0;
    for (claim, check) in checks {
        match check() {
            Ok(evidence) => println!("ok      {claim}\n{}", indented(&evidence)),
            Err(error) => {
                failures += 1;
                println!("FAILED  {claim}\n{}", indented(&format!("{error:#}")));
            }
        }
    }
    ensure!(failures == 0, "{failures} of {} checks failed", checks.len());
    Ok(())
}

fn is_served(place: &Place, pki: &Pki) -> Result<String> {
    let answer = fetch(place, pki)?;
    let status = answer.lines().next_back().unwrap_or_default();
    ensure!(status.ends_with(" 200"), "curl got {status}");
    Ok(status.to_owned())
}

fn names_the_proxy(place: &Place, pki: &Pki) -> Result<String> {
    let page = fetch(place, pki)?;
    let certificate = page.split_once("\nClient certificate\n").context("no client certificate")?.1;
    let email = format!("email:{PROXY_NAME}");
    let line = certificate.lines().find(|line| line.trim() == email);
    Ok(line
        .with_context(|| format!("another client certificate: {certificate}"))?
        .trim()
        .to_owned())
}

fn refuses_the_unknown(place: &Place, pki: &Pki) -> Result<String> {
    let output = curl(place, pki).args(["--header", "Accept: text/plain"]).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let refusal = said.lines().find(|line| line.starts_with("495 "));
    Ok(refusal.with_context(|| format!("{}: {said}", output.status))?.to_owned())
}

fn resumes_for_the_client(place: &Place, pki: &Pki) -> Result<String> {
    let session = place.directory.join("session.pem");
    s_client(place, pki, "-sess_out", &session)?;
    let said = s_client(place, pki, "-sess_in", &session)?;
    // The page follows; in it the upstream reports its own handshake.
    let own = said.split("\nHTTP/1.").next().unwrap_or_default();
    let reused = own.lines().find(|line| line.starts_with("Reused, "));
    reused.map(str::to_owned).context("the second handshake was a full one, too")
}

/// Each worker keeps its own sessions, so the second request may reach another worker for the first
/// time.
fn resumes_with_the_upstream(place: &Place, pki: &Pki) -> Result<String> {
    for _ in 0..50 {
        let page = fetch(place, pki)?;
        if let Some(reused) = page.lines().find(|line| line.starts_with("Reused, ")) {
            return Ok(reused.to_owned());
        }
    }
    bail!("50 requests, each after a full handshake")
}

fn counts_and_shows_state(place: &Place) -> Result<String> {
    let metrics = admin::get(place.admin_port, "/metrics")?;
    let topics = ["handshake", "requests", "upstream"];
    let samples = admin::interesting(&metrics, &topics);
    for topic in topics {
        ensure!(samples.iter().any(|line| line.contains(topic)), "no metric of {topic} above zero");
    }
    let status = admin::get(place.admin_port, "/status")?;
    ensure!(status.contains(HOST), "/status does not know {HOST}: {status}");
    let some = samples.get(..SAMPLES_SHOWN).unwrap_or(&samples);
    Ok(format!("{}\n\n{}", some.join("\n"), status.trim_end()))
}

/// The response that curl gets with a client certificate, then a line with HTTP version and status.
fn fetch(place: &Place, pki: &Pki) -> Result<String> {
    let mut curl = curl(place, pki);
    curl.arg("--cert").arg(&pki.client.certificate).arg("--key").arg(&pki.client.key);
    let output = curl.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "curl: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn curl(place: &Place, pki: &Pki) -> Command {
    let mut curl = command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "20", "--noproxy", "*"]);
    curl.arg("--resolve").arg(format!("{HOST}:{}:127.0.0.1", place.port));
    curl.arg("--cacert").arg(&pki.root);
    curl.args(["--write-out", "\nHTTP/%{http_version} %{http_code}"]);
    curl.arg(format!("https://{HOST}:{}/", place.port));
    curl
}

/// The output of `openssl s_client` for a handshake and a whole request: a TLS 1.3 ticket comes
/// after the handshake, so the client must stay connected.
fn s_client(place: &Place, pki: &Pki, session_flag: &str, session: &Path) -> Result<String> {
    let mut client = command("timeout");
    client.args(["20", "openssl", "s_client", "-ign_eof", "-verify_return_error"]);
    client.arg("-connect").arg(format!("127.0.0.1:{}", place.port)).args(["-servername", HOST]);
    client.arg("-CAfile").arg(&pki.root).arg("-cert").arg(&pki.client.certificate);
    client.arg("-key").arg(&pki.client.key).arg(session_flag).arg(session);
    client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = client.spawn()?;
    let request =
        format!("GET / HTTP/1.1\r\nHost: {HOST}:{}\r\nConnection: close\r\n\r\n", place.port);
    child.stdin.take().context("no stdin")?.write_all(request.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "openssl s_client: {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("        {line}").trim_end().to_owned() + "\n").collect()
}
