//! The proxy between a load generator and nginx, with mutual TLS on both sides: `dist` trains on it
//! and `bench` measures it.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, anyhow};

use crate::{
    admin,
    command::{cargo, command, run, target},
    mkcert::{Authority, Pair},
    process::Process,
};

/// The zone of the names served.
pub(crate) const ZONE: &str = "portcullis.localhost";
/// The files of the upstream, by path and bytes.
const FILES: [(&str, usize); 2] = [("1k", 1 << 10), ("64k", 64 << 10)];

/// Certificates, configurations and addresses of one run.
pub(crate) struct Rig {
    directory: PathBuf,
    /// The address of the proxy for clients.
    pub(crate) edge: SocketAddr,
    /// The address of the proxy for status and metrics.
    pub(crate) admin: SocketAddr,
    upstream: SocketAddr,
    /// The CA of all certificates.
    pub(crate) root: PathBuf,
    /// The client certificate.
    pub(crate) client: Pair,
    server: Pair,
    proxy: Pair,
}

impl Rig {
    /// Makes all files that the processes need, with ports that no process listens on.
    pub(crate) fn prepare(directory: &Path) -> Result<Self> {
        let ca = Authority::in_directory(directory.join("ca"))?;
        let [edge, admin, upstream] = free_addresses()?;
        let rig = Self {
            directory: directory.to_owned(),
            edge,
            admin,
            upstream,
            server: ca.issue(directory, "server", &[ZONE, &format!("*.{ZONE}")])?,
            proxy: ca.issue(directory, "proxy", &["-client", "proxy@localhost"])?,
            client: ca.issue(directory, "client", &["-client", "client@localhost"])?,
            root: ca.certificate(),
        };
        let www = directory.join("www");
        fs::create_dir_all(&www).with_context(|| format!("cannot make {}", www.display()))?;
        for (path, bytes) in FILES {
            fs::write(www.join(path), vec![b'x'; bytes])?;
        }
        fs::write(directory.join("nginx.conf"), rig.nginx_conf())?;
        Ok(rig)
    }

    /// Gives the proxy another port, which has no TIME_WAIT of an earlier proxy, at this address.
    pub(crate) fn move_edge(&mut self, to: IpAddr) -> Result<()> {
        let [edge] = free_addresses()?;
        self.edge = SocketAddr::new(to, edge.port());
        Ok(())
    }

    fn nginx_conf(&self) -> String {
        let Self { directory, upstream, root, server, .. } = self;
        format!(
            // One process: workers would outlive a master that is killed.
            "daemon off; master_process off; pid {0}/nginx.pid; error_log {0}/nginx.log;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ access_log off; keepalive_requests 1000000; keepalive_timeout 300s;\n\
             client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
             fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
             server {{ listen {upstream} ssl backlog=4096; root {0}/www;\n\
             ssl_certificate {1}; ssl_certificate_key {2};\n\
             ssl_client_certificate {3}; ssl_verify_client on; }} }}\n",
            directory.display(),
            server.certificate.display(),
            server.key.display(),
            root.display(),
        )
    }

    /// Routes for these hosts, each with its own upstream connections, since each has another name
    /// for the upstream's certificate; `own` is added to the `portcullis:` section after the admin
    /// address.
    pub(crate) fn config_yaml(&self, hosts: &[String], own: &str) -> String {
        let Self { edge, admin, upstream, root, server, proxy, .. } = self;
        let routes = hosts.iter().map(|host| {
            format!(
                "- from: https://{host}\n  to: https://{upstream}\n  tls_server_name: {host}\n  \
                 tls_custom_ca_file: {0}\n  tls_client_cert_file: {1}\n  \
                 tls_client_key_file: {2}\n  allow_public_unauthenticated_access: true\n",
                root.display(),
                proxy.certificate.display(),
                proxy.key.display(),
            )
        });
        format!(
            "address: {edge}\n\
             certificates: [{{cert: {0}, key: {1}}}]\n\
             downstream_mtls: {{ca_file: {2}, enforcement: reject_connection}}\n\
             proxy_log_level: error\n\
             portcullis: {{admin_address: \"{admin}\"{own}}}\n\
             routes:\n{3}",
            server.certificate.display(),
            server.key.display(),
            root.display(),
            routes.collect::<String>(),
        )
    }

    /// Starts nginx and waits until it listens.
    pub(crate) fn start_upstream(&self) -> Result<Process> {
        let mut nginx = command("nginx");
        nginx.arg("-c").arg(self.directory.join("nginx.conf"));
        let mut nginx = Process::start(&nginx, &self.directory.join("upstream.log"))?;
        nginx.wait_until("nginx listens", |_| TcpStream::connect(self.upstream).is_ok())?;
        Ok(nginx)
    }

    /// Starts the proxy and waits until it is ready.
    pub(crate) fn start_proxy(&self, binary: &Path, config: &str) -> Result<Process> {
        let path = self.directory.join("config.yaml");
        fs::write(&path, config)?;
        let mut run = command(binary);
        run.args(["run", "--config"]).arg(path);
        let mut proxy = Process::start(&run, &self.directory.join("proxy.log"))?;
        proxy.wait_until("/readyz answers 200", |_| admin::is_ready(self.admin.port()))?;
        Ok(proxy)
    }

    /// The load generator's command for names, given as `--name`.
    pub(crate) fn load(&self, generator: &Path, work: &str, name: &str) -> Command {
        let mut load = command(generator);
        load.args([work, "--address", &self.edge.to_string(), "--name", name]);
        load.arg("--ca").arg(&self.root).arg("--cert").arg(&self.client.certificate);
        load.arg("--key").arg(&self.client.key);
        load
    }
}

/// Builds the load generator and returns its path.
pub(crate) fn build_load_generator() -> Result<PathBuf> {
    run(&mut cargo("build --release --package portcullis-bench"))?;
    Ok(target().join("release/portcullis-bench"))
}

/// All ports are held until all are known, so that no two are the same.
pub(crate) fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let held: Vec<_> =
        (0..N).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    let addresses: Vec<_> = held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    addresses.try_into().map_err(|_| anyhow!("too few ports"))
}
