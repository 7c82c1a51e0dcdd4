//! A proxy based on pingora, configured like the other peers: it requires a client certificate on
//! one side and presents one on the other.
//!
//! Usage: `pingora-peer SETTINGS [--upgrade]`. SETTINGS is a file of `name value` lines. With
//! `--upgrade` it takes over the listeners of the running process, which is then sent SIGQUIT.

use std::{
    collections::HashMap,
    error::Error,
    fs,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use pingora::{
    listeners::tls::TlsSettings,
    prelude::{HttpPeer, Opt, ProxyHttp, Result, Server, Session, http_proxy_service},
    server::configuration::ServerConf,
    utils::tls::CertKey,
};
use rustls::{
    RootCertStore,
    crypto::aws_lc_rs::{self, cipher_suite, kx_group},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ResolvesServerCert, ResolvesServerCertUsingSni, WebPkiClientVerifier},
    sign::CertifiedKey,
};

struct Edge {
    upstreams: Vec<SocketAddr>,
    turn: AtomicUsize,
    server_name: String,
    identity: Arc<CertKey>,
}

#[async_trait]
impl ProxyHttp for Edge {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.upstreams.len();
        let identity = Arc::clone(&self.identity);
        let name = self.server_name.clone();
        Ok(Box::new(HttpPeer::new_mtls(self.upstreams[turn], name, identity)))
    }
}

fn main() -> std::result::Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("no settings")?;
    let text = fs::read_to_string(path)?;
    let settings: HashMap<_, _> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let setting = |name: &str| settings.get(name).copied().ok_or(format!("no {name}"));

    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    provider.kx_groups = vec![kx_group::X25519];
    provider.clone().install_default().map_err(|_| "a TLS provider is already installed")?;

    let chain = |name| -> std::result::Result<Vec<CertificateDer<'static>>, Box<dyn Error>> {
        Ok(CertificateDer::pem_file_iter(setting(name)?)?.collect::<std::result::Result<_, _>>()?)
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(chain("ca")?);
    let clients = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;

    let server_key = PrivateKeyDer::from_pem_file(setting("server_key")?)?;
    let certified = CertifiedKey::from_der(chain("server_cert")?, server_key, &provider)?;
    let mut by_name = ResolvesServerCertUsingSni::new();
    for name in setting("names")?.split(',') {
        by_name.add(name, certified.clone())?;
    }
    let by_name: Arc<dyn ResolvesServerCert> = Arc::new(by_name);
    let mut tls = TlsSettings::intermediate("", "")?;
    tls.set_cert_resolver(by_name);
    tls.set_client_cert_verifier(clients);
    tls.enable_h2();

    let proxy_key = PrivateKeyDer::from_pem_file(setting("proxy_key")?)?;
    let proxy_chain = chain("proxy_cert")?.iter().map(|one| one.to_vec()).collect();
    let edge = Edge {
        upstreams: setting("upstreams")?
            .split(',')
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?,
        turn: AtomicUsize::new(0),
        server_name: setting("server_name")?.to_owned(),
        identity: Arc::new(CertKey::new(proxy_chain, proxy_key.secret_der().to_vec())),
    };

    let conf = ServerConf {
        threads: setting("workers")?.parse()?,
        // With one worker there is no other queue to steal from.
        work_stealing: false,
        ca_file: Some(setting("ca")?.to_owned()),
        upstream_keepalive_pool_size: 1024,
        pid_file: setting("pid_file")?.to_owned(),
        upgrade_sock: setting("upgrade_sock")?.to_owned(),
        grace_period_seconds: Some(1),
        graceful_shutdown_timeout_seconds: Some(5),
        ..ServerConf::default()
    };
    let upgrade = std::env::args().any(|argument| argument == "--upgrade");
    let mut server = Server::new_with_opt_and_conf(Opt { upgrade, ..Opt::default() }, conf);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, edge);
    service.add_tls_with_settings(setting("edge")?, None, tls);
    server.add_service(service);
    server.run_forever()
}
