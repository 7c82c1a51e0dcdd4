//! `cargo xtask conformance`: suites that nobody here wrote, against the proxy with real upstreams.
//!
//! h2spec sends every kind of frame that RFC 9113 forbids. llhttp's vectors are HTTP/1 requests and
//! responses with what Node's parser makes of them; they are in the source package of aiohttp. CI runs
//! neither: h2spec is a Go program, and the vectors are downloaded.

mod differences;
mod h2spec;
mod requests;
mod responses;
mod vectors;

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context, Result, bail};

use crate::{
    admin,
    command::{cargo, command, run, target},
    mkcert::Authority,
    packages,
    process::Process,
    rig::free_addresses,
};

/// Options of `cargo xtask conformance`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The proxy to test; by default a debug build of this source.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Run this suite alone: `h2spec` or `http1`.
    #[arg(long)]
    suite: Option<String>,
    /// The program h2spec; by default the one in `PATH`.
    #[arg(long, default_value = "h2spec")]
    h2spec: PathBuf,
}

/// Runs the suites, and fails if an outcome is not the expected one.
pub(crate) fn run_with(options: &Options) -> Result<()> {
    let suites: &[&str] = match options.suite.as_deref() {
        None => &["h2spec", "http1"],
        Some("h2spec") => &["h2spec"],
        Some("http1") => &["http1"],
        Some(_) => bail!("the suites are h2spec and http1"),
    };
    packages::ensure(packages::CONFORMANCE)?;
    let bench = TestBench::prepare(options)?;
    let mut failed = Vec::new();
    for suite in suites {
        println!("\n==> {suite}");
        let outcome = match *suite {
            "h2spec" => h2spec::run(&bench, &options.h2spec),
            _ => requests::run(&bench).and_then(|()| responses::run(&bench)),
        };
        if let Err(error) = outcome {
            println!("{suite}: {error:#}");
            failed.push(*suite);
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("failed: {}", failed.join(", ")) }
}

/// The proxy's binary, and a directory for files.
struct TestBench {
    binary: PathBuf,
    directory: PathBuf,
}

/// A running proxy.
struct Proxy {
    address: SocketAddr,
    _process: Process,
}

impl TestBench {
    fn prepare(options: &Options) -> Result<TestBench> {
        let directory = target().join("conformance");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let binary = match &options.binary {
            Some(binary) => binary.canonicalize().context("no such binary")?,
            None => {
                run(&mut cargo("build --package portcullis"))?;
                target().join("debug/portcullis")
            }
        };
        Ok(TestBench { binary, directory })
    }

    /// Starts the proxy in front of an upstream, for the host `localhost`.
    fn proxy(&self, name: &str, upstream: SocketAddr, is_tls: bool) -> Result<Proxy> {
        let [address, admin] = free_addresses()?;
        let listener = if is_tls {
            let ca = Authority::in_directory(self.directory.join("ca"))?;
            let pair = ca.issue(&self.directory, "server", &["localhost"])?;
            let (certificate, key) = (pair.certificate.display(), pair.key.display());
            format!("certificates: [{{cert: {certificate}, key: {key}}}]")
        } else {
            "insecure_server: true".to_owned()
        };
        let config = format!(
            "address: {address}\n{listener}\nproxy_log_level: error\n\
             portcullis: {{admin_address: \"{admin}\", workers: 1}}\n\
             routes:\n- from: https://localhost\n  to: http://{upstream}\n  \
             allow_public_unauthenticated_access: true\n"
        );
        let path = self.directory.join(format!("{name}.yaml"));
        fs::write(&path, config)?;
        let mut run = command(&self.binary);
        run.args(["run", "--config"]).arg(&path);
        let mut process = Process::start(&run, &self.directory.join(format!("{name}.log")))?;
        process.wait_until("/readyz answers 200", |_| admin::is_ready(admin.port()))?;
        Ok(Proxy { address, _process: process })
    }

    /// Starts nginx, which answers every request with a short text.
    fn nginx(&self) -> Result<(SocketAddr, Process)> {
        let [address] = free_addresses()?;
        let directory = self.directory.display();
        let config = format!(
            "daemon off; master_process off; pid {directory}/nginx.pid; \
             error_log {directory}/nginx-error.log;\n\
             events {{ worker_connections 1024; }}\n\
             http {{ access_log off; keepalive_requests 1000000;\n\
             client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;\n\
             fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;\n\
             scgi_temp_path {directory}/scgi;\n\
             server {{ listen {address}; location / {{\n\
             add_header {MARK} 1 always; return 200 \"from nginx\\n\"; }} }} }}\n",
            MARK = requests::MARK,
        );
        let path = self.directory.join("nginx.conf");
        fs::write(&path, config)?;
        let mut run = command("nginx");
        run.arg("-c").arg(&path);
        let mut nginx = Process::start(&run, &self.directory.join("nginx.log"))?;
        nginx.wait_until("nginx listens", |_| std::net::TcpStream::connect(address).is_ok())?;
        Ok((address, nginx))
    }
}
