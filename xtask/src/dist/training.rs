//! The work that the instrumented proxy does: what an edge does all day, over real TLS.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};

use crate::{
    admin,
    command::{cargo, command, run as run_command, shown, target},
    mkcert::{Authority, Pair},
    process::Process,
};

const HOST: &str = "portcullis.localhost";
/// A kind of work, a path, the bytes of its body, connections, seconds.
const LOADS: &[(&str, &str, usize, u32, u32)] = &[
    ("keep-alive", "/1k", 1 << 10, 50, 8),
    ("full-handshake", "/1k", 1 << 10, 16, 3),
    ("resumed-handshake", "/1k", 1 << 10, 16, 3),
    ("keep-alive", "/64k", 64 << 10, 32, 3),
];
const HTTP2_REQUESTS: u32 = 5000;

/// Puts the load of an edge through `proxy`, which has to end by SIGTERM to leave its profile.
pub(super) fn run(directory: &Path, proxy: &Path) -> Result<()> {
    let bench = build_load_generator()?;
    let place = Place::prepare(directory)?;
    let _upstream = place.start_upstream()?;
    let proxy = place.start_proxy(proxy)?;
    for (work, path, body_bytes, connections, seconds) in LOADS {
        println!("* Training: {work} {path}");
        let mut load = command(&bench);
        load.args([work, "--address", &place.edge.to_string(), "--name", HOST, "--path", path]);
        load.args(["--body-bytes", &body_bytes.to_string(), "--seconds", &seconds.to_string()]);
        load.args(["--connections", &connections.to_string()]).arg("--ca").arg(&place.root);
        load.arg("--cert").arg(&place.client.certificate).arg("--key").arg(&place.client.key);
        run_command(&mut load)?;
    }
    println!("* Training: HTTP/2");
    place.request_over_http2()?;
    proxy.stop()
}

fn build_load_generator() -> Result<PathBuf> {
    run_command(&mut cargo("build --release --package portcullis-bench"))?;
    Ok(target().join("release/portcullis-bench"))
}

struct Place {
    directory: PathBuf,
    edge: SocketAddr,
    admin: SocketAddr,
    upstream: SocketAddr,
    root: PathBuf,
    server: Pair,
    proxy: Pair,
    client: Pair,
}

impl Place {
    fn prepare(directory: &Path) -> Result<Self> {
        let ca = Authority::in_directory(directory.join("ca"))?;
        let [edge, admin, upstream] = free_addresses()?;
        let place = Self {
            directory: directory.to_owned(),
            edge,
            admin,
            upstream,
            server: ca.issue(directory, "server", &[HOST])?,
            proxy: ca.issue(directory, "proxy", &["-client", "proxy@localhost"])?,
            client: ca.issue(directory, "client", &["-client", "client@localhost"])?,
            root: ca.certificate(),
        };
        let www = directory.join("www");
        fs::create_dir_all(&www).with_context(|| format!("cannot make {}", www.display()))?;
        for (_, path, body_bytes, ..) in LOADS {
            fs::write(www.join(path.trim_start_matches('/')), vec![b'x'; *body_bytes])?;
        }
        fs::write(place.directory.join("nginx.conf"), place.nginx_conf())?;
        fs::write(place.directory.join("config.yaml"), place.config_yaml())?;
        Ok(place)
    }

    fn nginx_conf(&self) -> String {
        let Self { directory, upstream, root, server, .. } = self;
        format!(
            "daemon off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
             events {{ worker_connections 4096; }}\n\
             http {{ access_log off; keepalive_requests 1000000; client_body_temp_path {0}/body;\n\
             proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi;\n\
             scgi_temp_path {0}/scgi;\n\
             server {{ listen {upstream} ssl; root {0}/www;\n\
             ssl_certificate {1}; ssl_certificate_key {2};\n\
             ssl_client_certificate {3}; ssl_verify_client on; }} }}\n",
            directory.display(),
            server.certificate.display(),
            server.key.display(),
            root.display(),
        )
    }

    fn config_yaml(&self) -> String {
        let Self { edge, admin, upstream, root, server, proxy, .. } = self;
        format!(
            "address: {edge}\n\
             certificates: [{{cert: {0}, key: {1}}}]\n\
             downstream_mtls: {{ca_file: {2}, enforcement: reject_connection}}\n\
             proxy_log_level: error\n\
             portcullis: {{admin_address: \"{admin}\"}}\n\
             routes:\n\
             - from: https://{HOST}\n  to: https://{upstream}\n  tls_server_name: {HOST}\n  \
             tls_custom_ca_file: {2}\n  tls_client_cert_file: {3}\n  tls_client_key_file: {4}\n  \
             allow_public_unauthenticated_access: true\n",
            server.certificate.display(),
            server.key.display(),
            root.display(),
            proxy.certificate.display(),
            proxy.key.display(),
        )
    }

    fn start_upstream(&self) -> Result<Process> {
        let mut nginx = command("nginx");
        nginx.arg("-c").arg(self.directory.join("nginx.conf"));
        let mut nginx = Process::start(&nginx, &self.directory.join("upstream.log"))?;
        nginx
            .wait_until("nginx listens", |_| std::net::TcpStream::connect(self.upstream).is_ok())?;
        Ok(nginx)
    }

    fn start_proxy(&self, binary: &Path) -> Result<Process> {
        let mut run = command(binary);
        run.args(["run", "--config"]).arg(self.directory.join("config.yaml"));
        let mut proxy = Process::start(&run, &self.directory.join("proxy.log"))?;
        proxy.wait_until("/readyz answers 200", |_| admin::is_ready(self.admin.port()))?;
        Ok(proxy)
    }

    fn request_over_http2(&self) -> Result<()> {
        let mut curl = command("curl");
        curl.args(["--no-progress-meter", "--fail", "--http2", "--parallel"]);
        curl.arg("--cacert").arg(&self.root);
        curl.arg("--cert").arg(&self.client.certificate).arg("--key").arg(&self.client.key);
        curl.args(["--resolve", &format!("{HOST}:{}:127.0.0.1", self.edge.port())]);
        curl.arg(format!("https://{HOST}:{}/1k?[1-{HTTP2_REQUESTS}]", self.edge.port()));
        let status = curl.stdout(Stdio::null()).status().context("cannot run curl")?;
        ensure!(status.success(), "{} failed: {status}", shown(&curl));
        Ok(())
    }
}

/// Held until all are known, so that no two are the same.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<_> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<_> = held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().map_err(|_| anyhow::anyhow!("too few ports"))
}
