//! The surroundings of the proxies: certificates, the content, and the upstreams.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU16, Ordering},
    thread,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use portcullis_abi::SplitMix64;

use super::{
    pin::{Core, pinned},
    template::fill,
};
use crate::{
    command::{command, shown},
    mkcert::{Authority, Pair},
    process::Process,
    rig::ZONE,
};

/// The number of `openssl s_server` processes: each serves one connection at a time.
const OPENSSL_SERVERS: usize = 8;

/// The surroundings that all peers share. The upstreams end when this is dropped.
pub(super) struct Lab {
    pub(super) directory: PathBuf,
    authority: Authority,
    /// The CA of all certificates.
    pub(super) ca: PathBuf,
    /// The certificate of the proxies for clients and of the upstreams, for every name in the zone.
    pub(super) server: Pair,
    /// The certificate of the proxies for upstreams.
    pub(super) proxy: Pair,
    /// The certificate of the clients.
    pub(super) client: Pair,
    /// The address of nginx with keep-alive.
    pub(super) origin: SocketAddr,
    /// The addresses of `openssl s_server`, which closes after each response.
    pub(super) openssl: Vec<SocketAddr>,
    upstreams: Vec<Process>,
}

/// A body that upstreams serve and clients verify.
#[derive(Debug, Clone)]
pub(super) struct Body {
    pub(super) path: &'static str,
    pub(super) bytes: usize,
    pub(super) sha256: String,
}

impl Lab {
    /// Makes the certificates and starts the upstreams.
    pub(super) fn open(directory: &Path) -> Result<Self> {
        fs::create_dir_all(directory.join("www"))
            .with_context(|| format!("cannot make {}", directory.display()))?;
        let authority = Authority::in_directory(directory.join("ca"))?;
        let server = authority.issue(directory, "server", &[ZONE, &format!("*.{ZONE}")])?;
        let proxy = authority.issue(directory, "proxy", &["-client", "proxy@localhost"])?;
        let client = authority.issue(directory, "client", &["-client", "client@localhost"])?;
        let mut lab = Self {
            directory: directory.to_owned(),
            ca: authority.certificate(),
            authority,
            server,
            proxy,
            client,
            origin: free_address()?,
            openssl: Vec::new(),
            upstreams: Vec::new(),
        };
        lab.start_origin()?;
        for _ in 0..OPENSSL_SERVERS {
            lab.start_openssl()?;
        }
        Ok(lab)
    }

    /// The body that is served under `/name`; it is made on first use.
    pub(super) fn body(&self, path: &'static str, bytes: usize) -> Result<Body> {
        let file = self.directory.join("www").join(path.trim_start_matches('/'));
        fs::write(&file, content(bytes))?;
        Ok(Body { path, bytes, sha256: sha256(&file)? })
    }

    /// A certificate for each of these hosts of the zone.
    pub(super) fn certificates(&self, hosts: &[String]) -> Result<Vec<Pair>> {
        self.issue_all("certificates", hosts, |host| vec![host])
    }

    /// A directory with exactly this number of client certificates.
    pub(super) fn clients(&self, count: usize) -> Result<PathBuf> {
        let directory = format!("clients-{count}");
        let names: Vec<_> = (0..count).map(|client| format!("client-{client}@localhost")).collect();
        self.issue_all(&directory, &names, |name| vec!["-client", name])?;
        Ok(self.directory.join(directory))
    }

    /// Issues each certificate once, with mkcert's arguments, and keeps it with the CA.
    fn issue_all(
        &self,
        directory: &str,
        names: &[String],
        arguments: impl for<'n> Fn(&'n str) -> Vec<&'n str> + Sync,
    ) -> Result<Vec<Pair>> {
        let directory = self.directory.join(directory);
        fs::create_dir_all(&directory)?;
        let of = |name: &String| {
            let certificate = directory.join(format!("{name}.pem"));
            let key = directory.join(format!("{name}-key.pem"));
            if certificate.exists() && key.exists() {
                return Ok(Pair { certificate, key });
            }
            self.authority.issue(&directory, name, &arguments(name))
        };
        // mkcert makes thirty certificates a second.
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let share = names.len().div_ceil(threads).max(1);
        let make = |names: &[String]| names.iter().map(of).collect::<Result<Vec<_>>>();
        let made: Result<Vec<_>> = thread::scope(|scope| {
            let shares: Vec<_> =
                names.chunks(share).map(|names| scope.spawn(|| make(names))).collect();
            let join = |share: thread::ScopedJoinHandle<'_, Result<Vec<Pair>>>| {
                share.join().map_err(|_| anyhow!("making certificates panicked"))?
            };
            shares.into_iter().map(join).collect()
        });
        Ok(made?.into_iter().flatten().collect())
    }

    /// Surroundings that consist of paths only; no file is made.
    #[cfg(test)]
    pub(super) fn on_paper(directory: &Path) -> Result<Self> {
        let pair = |name: &str| Pair {
            certificate: directory.join(format!("{name}.pem")),
            key: directory.join(format!("{name}-key.pem")),
        };
        for pair in [pair("server"), pair("proxy")] {
            fs::create_dir_all(directory)?;
            fs::write(pair.certificate, "certificate\n")?;
            fs::write(pair.key, "key\n")?;
        }
        Ok(Self {
            directory: directory.to_owned(),
            authority: Authority::in_directory(directory.join("ca"))?,
            ca: directory.join("ca.pem"),
            server: pair("server"),
            proxy: pair("proxy"),
            client: pair("client"),
            origin: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            openssl: (2..4).map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))).collect(),
            upstreams: Vec::new(),
        })
    }

    fn start_origin(&mut self) -> Result<()> {
        let conf = fill(
            include_str!("../../../bench/peers/origin.conf"),
            &[
                ("directory", &self.directory.display().to_string()),
                ("address", &self.origin.to_string()),
                ("server_cert", &self.server.certificate.display().to_string()),
                ("server_key", &self.server.key.display().to_string()),
                ("ca", &self.ca.display().to_string()),
            ],
        )?;
        let path = self.directory.join("origin.conf");
        fs::write(&path, conf)?;
        let mut nginx = pinned(Core::Load, Path::new("nginx"));
        nginx.arg("-c").arg(path);
        let mut nginx = Process::start(&nginx, &self.directory.join("origin.log"))?;
        nginx.wait_until("the origin listens", |_| TcpStream::connect(self.origin).is_ok())?;
        self.upstreams.push(nginx);
        Ok(())
    }

    fn start_openssl(&mut self) -> Result<()> {
        let address = free_address()?;
        let mut server = pinned(Core::Load, Path::new("openssl"));
        server.args(["s_server", "-www", "-quiet", "-accept", &address.to_string()]);
        server.args(["-Verify", "1", "-verify_return_error", "-CAfile"]).arg(&self.ca);
        server.arg("-cert").arg(&self.server.certificate).arg("-key").arg(&self.server.key);
        server.args(["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256", "-groups", "X25519"]);
        let log = self.directory.join(format!("openssl-{}.log", address.port()));
        let mut server = Process::start(&server, &log)?;
        // A connection would take the only one that it serves.
        server.wait_until("openssl listens", |_| listens(address.port()))?;
        self.upstreams.push(server);
        self.openssl.push(address);
        Ok(())
    }
}

/// Whether a socket listens on the port, according to `/proc/net/tcp` (state 0A).
fn listens(port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X} 00000000:0000 0A");
    table.lines().any(|line| line.contains(&local))
}

/// An address on which no socket listens, below the range of client ports.
pub(super) fn free_address() -> Result<SocketAddr> {
    static NEXT: AtomicU16 = AtomicU16::new(8000);
    for _ in 0..2000 {
        let port = 8000 + NEXT.fetch_add(1, Ordering::Relaxed).wrapping_sub(8000) % 2000;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return Ok(address);
        }
    }
    bail!("no free port between 8000 and 10000")
}

/// Bytes that do not repeat, so that the hash changes if a piece is lost, doubled or out of order.
fn content(bytes: usize) -> Vec<u8> {
    let mut random = SplitMix64::new(0);
    std::iter::repeat_with(|| random.next_u64().to_be_bytes()[0]).take(bytes).collect()
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(file: &Path) -> Result<String> {
    let mut sum = command("sha256sum");
    let output = sum.arg(file).output().context("cannot run sha256sum")?;
    ensure!(output.status.success(), "{} failed", shown(&sum));
    let said = String::from_utf8_lossy(&output.stdout);
    Ok(said.split_whitespace().next().context("sha256sum printed nothing")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_piece_of_a_body_is_like_another() {
        let body = content(1 << 16);
        let mut pieces: Vec<_> = body.chunks(1024).collect();
        pieces.sort_unstable();
        pieces.dedup();
        assert_eq!(pieces.len(), 64);
    }

    #[test]
    fn no_address_is_given_twice_in_a_row() {
        assert_ne!(free_address().unwrap(), free_address().unwrap());
    }
}
