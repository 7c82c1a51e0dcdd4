//! `cargo xtask demo --sign-in`: a person signs in at an OpenID Connect provider, and an upstream
//! verifies the assertion that the proxy sends.

mod checks;
mod config;
mod hints;

use std::{fs, path::PathBuf};

use anyhow::{Result, ensure};

use super::{Options, build, keep_up, place::Place, start_proxy};
use crate::{
    command::{command, target},
    mkcert::{Authority, Pair},
    node_peers::NodePeers,
    packages,
    process::Process,
};

/// The host that needs a signed-in user.
const HOST: &str = "verify.localhost.pomerium.io";
/// The host that people sign in at.
const AUTHENTICATE_HOST: &str = "authenticate.localhost.pomerium.io";
/// The one certificate that covers both.
const WILDCARD: &str = "*.localhost.pomerium.io";

/// Runs the demo under `target/demo-sign-in`.
pub(super) fn run(options: &Options) -> Result<()> {
    packages::ensure(packages::SIGN_IN_DEMO)?;
    run_in(target().join("demo-sign-in"), options, build)
}

/// Runs the demo's checks with this proxy, in a directory that no running demo uses.
pub(super) fn check(binary: PathBuf, options: &Options) -> Result<()> {
    run_in(target().join("demo-sign-in-once"), options, |_| Ok(binary))
}

/// The files of the demo's certificates.
struct Certificates {
    root: PathBuf,
    edge: Pair,
}

fn run_in(
    directory: PathBuf,
    options: &Options,
    binary: impl FnOnce(bool) -> Result<PathBuf>,
) -> Result<()> {
    let place = Place::reserve(directory, options)?;
    let binary = binary(options.release)?;
    let peers = NodePeers::install()?;
    let ca = Authority::in_directory(place.directory.join("ca"))?;
    let edge = ca.issue(&place.directory, "edge", &[WILDCARD])?;
    let certificates = Certificates { root: ca.certificate(), edge };
    println!("* Made a certificate for {WILDCARD} with mkcert, its own CA");
    let config = place.directory.join("config.yaml");
    let secrets = [random_secret()?, random_secret()?];
    fs::write(&config, config::yaml(&place, &certificates, &secrets))?;
    println!("* Wrote {}", place.shown(&config));
    let mut provider = start_provider(&place, &peers)?;
    let mut upstream = start_upstream(&place, &peers, &certificates)?;
    let mut proxy = start_proxy(&place, &binary, &config, HOST)?;
    checks::all(&place, &certificates).inspect_err(|_| println!("\n{}", proxy.log_tail()))?;
    if options.once {
        return Ok(());
    }
    hints::print(&place, &certificates);
    keep_up(&mut [&mut provider, &mut upstream, &mut proxy])
}

/// 32 random bytes in base64.
fn random_secret() -> Result<String> {
    let output = command("openssl").args(["rand", "-base64", "32"]).output()?;
    ensure!(output.status.success(), "openssl rand: {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

fn start_provider(place: &Place, peers: &NodePeers) -> Result<Process> {
    let mut server = command("node");
    server.arg(peers.script("server.mjs")).arg(place.provider_port.to_string());
    server.arg(format!("https://{AUTHENTICATE_HOST}:{}", place.port));
    // The provider shows no consent form: one step less.
    server.arg(r#"{"autoConsent": true}"#);
    let mut provider = Process::start(&server, &place.directory.join("provider.log"))?;
    provider.wait_until("it listens", |log| log.contains("listening on"))?;
    println!("* Started the identity provider: oidc-provider, port {}", place.provider_port);
    Ok(provider)
}

fn start_upstream(
    place: &Place,
    peers: &NodePeers,
    certificates: &Certificates,
) -> Result<Process> {
    let mut server = command("node");
    server.arg(peers.script("verify.mjs")).arg(place.upstream_port.to_string());
    server.args([HOST, &place.port.to_string()]).arg(&certificates.root);
    let mut upstream = Process::start(&server, &place.directory.join("upstream.log"))?;
    upstream.wait_until("it listens", |log| log.contains("listening on"))?;
    println!(
        "* Started the upstream: it verifies assertions by the proxy's key set, port {}",
        place.upstream_port
    );
    Ok(upstream)
}
