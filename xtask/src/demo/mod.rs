//! `cargo xtask demo`: the proxy between curl and `openssl s_server`, mutual TLS on both sides; with
//! `--sign-in`, between a person, an identity provider and an upstream that verifies assertions.

mod checks;
mod config;
mod hints;
mod pki;
mod place;
mod sign_in;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::Result;

use crate::{
    admin,
    command::{cargo, command, run as run_command, target},
    packages,
    process::Process,
};
use pki::Pki;
use place::Place;

/// The name that the demo serves. In public DNS it is 127.0.0.1; curl is told the address, for
/// machines without public DNS.
const HOST: &str = "hello.localhost.pomerium.io";
/// The name in the upstream's certificate.
const UPSTREAM_NAME: &str = "openssl.localhost";
/// The name in the proxy's client certificate.
const PROXY_NAME: &str = "portcullis@localhost";

/// Options of the demo. Port 0 is any free port.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Show sign-in by OpenID Connect instead of client certificates.
    #[arg(long)]
    sign_in: bool,
    /// End after the checks: with 0 if all pass, else with 1.
    #[arg(long)]
    once: bool,
    /// Build and run the optimised proxy; the first build takes some minutes longer.
    #[arg(long)]
    release: bool,
    /// Port of the proxy.
    #[arg(long, default_value_t = 8443)]
    port: u16,
    /// Port of its metrics and status.
    #[arg(long, default_value_t = 9464)]
    admin_port: u16,
    /// Port of the upstream.
    #[arg(long, default_value_t = 44330)]
    upstream_port: u16,
    /// Port of the identity provider, with `--sign-in`.
    #[arg(long, default_value_t = 9400)]
    provider_port: u16,
}

impl Options {
    /// Options for the checks alone, on any free ports.
    fn once() -> Options {
        Options {
            sign_in: false,
            once: true,
            release: false,
            port: 0,
            admin_port: 0,
            upstream_port: 0,
            provider_port: 0,
        }
    }
}

/// Runs the demo under `target/`.
pub(crate) fn run(options: &Options) -> Result<()> {
    if options.sign_in {
        return sign_in::run(options);
    }
    packages::ensure(packages::DEMO)?;
    run_in(target().join("demo"), options, build)
}

/// Runs the demo's checks with this proxy, in a directory that no other demo uses.
pub(crate) fn check(binary: PathBuf) -> Result<()> {
    run_in(target().join("demo-once"), &Options::once(), |_| Ok(binary))
}

/// Runs the checks of the sign-in demo with this proxy.
pub(crate) fn check_sign_in(binary: PathBuf) -> Result<()> {
    sign_in::check(binary, &Options::once())
}

fn run_in(
    directory: PathBuf,
    options: &Options,
    binary: impl FnOnce(bool) -> Result<PathBuf>,
) -> Result<()> {
    let place = Place::reserve(directory, options)?;
    let binary = binary(options.release)?;
    let pki = make_pki(&place)?;
    let config = make_config(&place, &pki)?;
    let mut upstream = start_upstream(&place, &pki)?;
    let mut proxy = start_proxy(&place, &binary, &config, HOST)?;
    checks::all(&place, &pki).inspect_err(|_| println!("\n{}", proxy.log_tail()))?;
    if options.once {
        return Ok(());
    }
    hints::print(&place, &pki);
    keep_up(&mut [&mut upstream, &mut proxy])
}

/// Waits until one of the processes ends, which is an error, or for Ctrl-C.
fn keep_up(processes: &mut [&mut Process]) -> Result<()> {
    loop {
        for process in &mut *processes {
            process.must_be_running()?;
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn build(release: bool) -> Result<PathBuf> {
    let (flag, profile) = if release { ("--release", "release") } else { ("", "debug") };
    println!("* Building the proxy ({profile}): the first time takes a few minutes");
    run_command(&mut cargo(&format!("build --package portcullis {flag}")))?;
    Ok(target().join(profile).join("portcullis"))
}

fn make_pki(place: &Place) -> Result<Pki> {
    let pki = Pki::create(&place.directory)?;
    println!("* Made a development PKI with mkcert, its own CA: {}", place.shown(&pki.root));
    Ok(pki)
}

fn make_config(place: &Place, pki: &Pki) -> Result<PathBuf> {
    let path = place.directory.join("config.yaml");
    std::fs::write(&path, config::yaml(place, pki))?;
    println!("* Wrote {}", place.shown(&path));
    Ok(path)
}

fn start_upstream(place: &Place, pki: &Pki) -> Result<Process> {
    let mut server = command("openssl");
    server.args(["s_server", "-www", "-Verify", "1", "-verify_return_error", "-accept"]);
    server.arg(format!("127.0.0.1:{}", place.upstream_port)).arg("-CAfile").arg(&pki.root);
    server.arg("-cert").arg(&pki.upstream.certificate).arg("-key").arg(&pki.upstream.key);
    let mut upstream = Process::start(&server, &place.directory.join("upstream.log"))?;
    upstream.wait_until("it accepts", |log| log.contains("ACCEPT"))?;
    println!(
        "* Started the upstream: openssl s_server -Verify 1 -www, port {}",
        place.upstream_port
    );
    Ok(upstream)
}

fn start_proxy(place: &Place, binary: &Path, config: &Path, host: &str) -> Result<Process> {
    let mut run = command(binary);
    run.args(["run", "--config"]).arg(config);
    let mut proxy = Process::start(&run, &place.directory.join("proxy.log"))?;
    proxy.wait_until("/readyz answers 200", |_| admin::is_ready(place.admin_port))?;
    println!(
        "* Started the proxy: https://{host}:{}, log {}",
        place.port,
        place.shown(proxy.log())
    );
    Ok(proxy)
}
