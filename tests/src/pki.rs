//! Certificates: those of the guides by the real mkcert, and unusual ones by OpenSSL.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

use crate::{
    process::run,
    tempdir::{TempDir, target_dir},
    tools::need,
};

/// Changed with the output of [`Pki::create`], so that no old directory is used.
const VERSION: &str = "1";

/// mkcert's password for every PKCS #12 file.
pub const PKCS12_PASSWORD: &str = "changeit";

/// A certificate chain and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct Pair {
    /// The chain, leaf first.
    pub cert: PathBuf,
    /// The key of the leaf.
    pub key: PathBuf,
}

/// The certificates that all tests share.
#[derive(Debug)]
pub struct Pki {
    dir: PathBuf,
}

/// The certificates that all tests share, made once and kept under `target/test-pki`.
pub fn pki() -> &'static Pki {
    static SHARED: OnceLock<Pki> = OnceLock::new();
    SHARED.get_or_init(|| {
        let root = target_dir();
        fs::create_dir_all(&root).expect("the target directory");
        let lock = File::create(root.join("test-pki.lock")).expect("the lock of the test PKI");
        lock.lock().expect("the lock of the test PKI"); // test programs may run side by side
        Pki::create(&root.join("test-pki"))
    })
}

impl Pki {
    /// Makes all certificates in `dir`, or uses those of an earlier call.
    ///
    /// # Panics
    /// When mkcert or OpenSSL fails.
    pub fn create(dir: &Path) -> Self {
        let stamp = dir.join("version");
        if fs::read_to_string(&stamp).is_ok_and(|version| version == VERSION) {
            return Self { dir: dir.canonicalize().expect("a directory that exists") };
        }
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir.join("other")).expect("the directory of the test PKI");
        let pki = Self { dir: dir.canonicalize().expect("the directory just made") };
        pki.make_guide_certificates();
        pki.make_odd_certificates();
        fs::write(stamp, VERSION).expect("the stamp of the test PKI");
        pki
    }

    fn make_guide_certificates(&self) {
        let root = self.dir.clone();
        let other = self.dir.join("other");
        mkcert(&root, "server", &["*.localhost.pomerium.io", "localhost", "127.0.0.1", "::1"]);
        mkcert(&root, "exact", &["exact.localhost.pomerium.io"]);
        mkcert(&root, "apps", &["*.apps.localhost.pomerium.io"]);
        mkcert(&root, "upstream", &["localhost", "127.0.0.1", "::1", "*.upstream.test"]);
        mkcert(&root, "elsewhere", &["elsewhere.test"]);
        mkcert_with(&root, "client", &["-client", "-ecdsa"], &["user@localhost.pomerium.io"]);
        mkcert_with(&root, "proxy", &["-client", "-ecdsa"], &["portcullis@localhost.pomerium.io"]);
        mkcert_with(&root, "rsa", &[], &["*.localhost.pomerium.io", "localhost"]);
        mkcert(&other, "upstream", &["localhost", "127.0.0.1"]);
        mkcert_with(&other, "client", &["-client", "-ecdsa"], &["stranger@elsewhere.test"]);
    }

    fn make_odd_certificates(&self) {
        let san = "DNS:*.localhost.pomerium.io,DNS:localhost";
        let server = Odd { san, eku: "serverAuth", ..Odd::default() };
        self.openssl("p384", &Odd { key: Key::P384Sec1, ..server });
        self.openssl("pkcs1", &Odd { key: Key::RsaPkcs1, ..server });
        let past = ("20200101000000Z", "20210101000000Z");
        let future = ("20900101000000Z", "20910101000000Z");
        self.openssl("upstream-expired", &Odd { dates: Some(past), ..server });
        let client = Odd { san: "email:odd@localhost.pomerium.io", ..Odd::default() };
        self.openssl("client-expired", &Odd { dates: Some(past), ..client });
        self.openssl("client-early", &Odd { dates: Some(future), ..client });
        self.openssl("client-wrong-use", &Odd { eku: "serverAuth", ..client });
    }

    fn openssl(&self, name: &str, odd: &Odd<'_>) {
        issue(&self.dir, name, odd);
    }

    /// The CA that the proxy, its clients and its upstreams trust.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("rootCA.pem")
    }

    /// A CA that no program trusts.
    pub fn other_ca(&self) -> PathBuf {
        self.dir.join("other/rootCA.pem")
    }

    /// A certificate by name; `other/…` are issued by [`Pki::other_ca`].
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn pair(&self, name: &str) -> Pair {
        let pair = Pair {
            cert: self.dir.join(format!("{name}.pem")),
            key: self.dir.join(format!("{name}.key")),
        };
        assert!(pair.cert.is_file() && pair.key.is_file(), "no certificate is named {name}");
        pair
    }

    /// The certificate for `*.localhost.pomerium.io`, `localhost`, `127.0.0.1` and `::1`.
    pub fn server(&self) -> Pair {
        self.pair("server")
    }

    /// The certificate for `localhost`, `127.0.0.1`, `::1` and `*.upstream.test`.
    pub fn upstream(&self) -> Pair {
        self.pair("upstream")
    }

    /// A user's certificate, with the email `user@localhost.pomerium.io`.
    pub fn client(&self) -> Pair {
        self.pair("client")
    }

    /// The proxy's client certificate, with the email `portcullis@localhost.pomerium.io`.
    pub fn proxy(&self) -> Pair {
        self.pair("proxy")
    }

    /// Issues another certificate, by mkcert, in the directory of a test.
    pub fn issue(&self, dir: &TempDir, name: &str, names: &[&str]) -> Pair {
        let pair = Pair {
            cert: dir.path().join(format!("{name}.pem")),
            key: dir.path().join(format!("{name}.key")),
        };
        mkcert_to(&self.dir, &pair, &["-ecdsa"], names);
        pair
    }

    /// A user's certificate and key in mkcert's format for browsers: a PKCS #12 file with the
    /// password [`PKCS12_PASSWORD`], in the directory of a test.
    ///
    /// # Panics
    /// When mkcert fails.
    pub fn pkcs12(&self, dir: &TempDir, email: &str) -> PathBuf {
        let file = dir.path().join("user.p12");
        let mut command = Command::new(need("mkcert"));
        command.env("CAROOT", &self.dir).args(["-client", "-pkcs12", "-p12-file"]).arg(&file);
        let done = run(command.arg(email), b"");
        assert_eq!(done.code, Some(0), "mkcert: {}", done.stderr);
        file
    }

    /// A client certificate that expires at this time, in the directory of a test.
    ///
    /// # Panics
    /// When OpenSSL fails.
    pub fn client_until(&self, dir: &TempDir, end: std::time::SystemTime) -> Pair {
        for name in ["rootCA.pem", "rootCA-key.pem"] {
            fs::copy(self.dir.join(name), dir.path().join(name)).expect("a copy of the CA");
        }
        let epoch = end.duration_since(std::time::UNIX_EPOCH).expect("a time of this century");
        let mut date = Command::new("date");
        date.args(["-u", "+%Y%m%d%H%M%SZ", "-d", &format!("@{}", epoch.as_secs())]);
        let end = run(&mut date, b"").stdout;
        let odd = Odd {
            san: "email:brief@localhost.pomerium.io",
            dates: Some(("20200101000000Z", end.trim())),
            ..Odd::default()
        };
        issue(dir.path(), "brief", &odd);
        Pair { cert: dir.path().join("brief.pem"), key: dir.path().join("brief.key") }
    }
}

impl Pair {
    /// SHA-256 of the leaf, in lower-case hexadecimal, as OpenSSL prints it.
    pub fn fingerprint(&self) -> String {
        let line = self.x509(&["-fingerprint", "-sha256"]);
        line.split('=').nth(1).unwrap_or_default().trim().replace(':', "").to_lowercase()
    }

    /// The same as a PKCS #12 file with the password [`PKCS12_PASSWORD`], beside it.
    pub fn pkcs12(&self) -> PathBuf {
        let file = self.cert.with_extension("p12");
        let mut command = Command::new(need("openssl"));
        command.args(["pkcs12", "-export", "-passout", &format!("pass:{PKCS12_PASSWORD}")]);
        command.arg("-in").arg(&self.cert).arg("-inkey").arg(&self.key).arg("-out").arg(&file);
        openssl(&mut command);
        file
    }

    /// The leaf's serial number, in upper-case hexadecimal, as OpenSSL prints it.
    pub fn serial(&self) -> String {
        self.x509(&["-serial"]).split('=').nth(1).unwrap_or_default().trim().to_owned()
    }

    fn x509(&self, what: &[&str]) -> String {
        let mut command = Command::new(need("openssl"));
        command.args(["x509", "-noout", "-in"]).arg(&self.cert).args(what);
        let done = run(&mut command, b"");
        assert_eq!(done.code, Some(0), "openssl x509: {}", done.stderr);
        done.stdout
    }
}

fn mkcert(root: &Path, name: &str, names: &[&str]) {
    mkcert_with(root, name, &["-ecdsa"], names);
}

fn mkcert_with(root: &Path, name: &str, options: &[&str], names: &[&str]) {
    let pair =
        Pair { cert: root.join(format!("{name}.pem")), key: root.join(format!("{name}.key")) };
    mkcert_to(root, &pair, options, names);
}

fn mkcert_to(root: &Path, pair: &Pair, options: &[&str], names: &[&str]) {
    let mut command = Command::new(need("mkcert"));
    command.env("CAROOT", root).args(options);
    command.arg("-cert-file").arg(&pair.cert).arg("-key-file").arg(&pair.key).args(names);
    let done = run(&mut command, b"");
    assert_eq!(done.code, Some(0), "mkcert: {}", done.stderr);
}

#[derive(Clone, Copy, Default)]
enum Key {
    #[default]
    P256,
    P384Sec1,
    RsaPkcs1,
}

/// A certificate that mkcert cannot make.
#[derive(Clone, Copy)]
struct Odd<'a> {
    key: Key,
    san: &'a str,
    eku: &'a str,
    dates: Option<(&'a str, &'a str)>,
}

impl Default for Odd<'_> {
    fn default() -> Self {
        Self { key: Key::P256, san: "", eku: "clientAuth", dates: None }
    }
}

fn issue(root: &Path, name: &str, odd: &Odd<'_>) {
    let work = root.join(format!("{name}.work"));
    fs::create_dir_all(work.join("new")).expect("a directory to issue in");
    fs::write(work.join("index.txt"), "").expect("the CA's index");
    let config = work.join("ca.cnf");
    fs::write(&config, ca_config(root, &work, odd)).expect("the CA's configuration");
    let key = root.join(format!("{name}.key"));
    make_key(odd.key, &key);
    let request = work.join("request.pem");
    let mut command = Command::new(need("openssl"));
    command.args(["req", "-new", "-subj"]).arg(format!("/CN={name}"));
    openssl(command.arg("-key").arg(&key).arg("-out").arg(&request));
    let mut command = Command::new(need("openssl"));
    command.args(["ca", "-batch", "-notext", "-config"]).arg(&config);
    if let Some((start, end)) = odd.dates {
        command.args(["-startdate", start, "-enddate", end]);
    }
    let cert = root.join(format!("{name}.pem"));
    openssl(command.arg("-in").arg(&request).arg("-out").arg(&cert));
    let _ = fs::remove_dir_all(&work);
}

fn ca_config(root: &Path, work: &Path, odd: &Odd<'_>) -> String {
    let (root, work) = (root.display(), work.display());
    let (san, eku) = (odd.san, odd.eku);
    format!(
        "[ca]\ndefault_ca = issue\n\
         [issue]\ndatabase = {work}/index.txt\nnew_certs_dir = {work}/new\n\
         certificate = {root}/rootCA.pem\nprivate_key = {root}/rootCA-key.pem\n\
         default_md = sha256\nrand_serial = yes\ndefault_days = 365\npolicy = any\nx509_extensions = leaf\n\
         [any]\ncommonName = supplied\n\
         [leaf]\nbasicConstraints = CA:FALSE\nkeyUsage = digitalSignature\n\
         extendedKeyUsage = {eku}\nsubjectAltName = {san}\n"
    )
}

fn make_key(kind: Key, path: &Path) {
    let mut command = Command::new(need("openssl"));
    match kind {
        Key::P256 => command.args(["genpkey", "-algorithm", "EC"]).args([
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-pkeyopt",
            "ec_param_enc:named_curve",
        ]),
        Key::P384Sec1 => command.args(["ecparam", "-name", "secp384r1", "-genkey", "-noout"]),
        Key::RsaPkcs1 => command.args(["genrsa", "-traditional"]),
    };
    command.arg("-out").arg(path);
    if matches!(kind, Key::RsaPkcs1) {
        command.arg("2048");
    }
    openssl(&mut command);
}

fn openssl(command: &mut Command) {
    let done = run(command, b"");
    assert_eq!(done.code, Some(0), "{command:?}: {}", done.stderr);
}
