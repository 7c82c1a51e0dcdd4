//! Chains that mkcert cannot make, made with OpenSSL in the directory of a test.

use std::{path::PathBuf, process::Command};

use crate::{pki::Pair, process::run, tempdir::TempDir, tools::need};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// The usual kind of key, as an argument of `-newkey`.
pub const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";

const CA: &str = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n";

/// A client certificate and the root of its chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The certificates that the client presents.
    pub client: Pair,
    /// The root of the chain.
    pub root: PathBuf,
}

/// A client certificate issued by an intermediate, which is sent with it. The root's name is
/// `CN=root`.
///
/// # Panics
/// When OpenSSL fails.
pub fn deep(dir: &TempDir) -> Chain {
    make_root(dir);
    dir.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    dir.write("leaf.ext", "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n");
    issue(dir, "middle", "root", "-extfile ca.ext");
    issue(dir, "leaf", "middle", "-extfile leaf.ext");
    let read = |name| std::fs::read_to_string(dir.path().join(name)).expect("a PEM file");
    let chain = dir.write("chain.pem", read("leaf.pem") + &read("middle.pem"));
    Chain { client: Pair { cert: chain, ..pair(dir, "leaf") }, root: dir.path().join("root.pem") }
}

/// The default of `openssl req -x509`: a leaf that is marked as a CA.
///
/// # Panics
/// When OpenSSL fails.
pub fn self_signed(dir: &TempDir) -> Pair {
    openssl(
        dir,
        &format!("req -x509 {NEW_KEY} -subj /CN=own -days 30 -keyout own.key -out own.pem"),
    );
    pair(dir, "own")
}

/// Makes certificates one by one, each with the extensions that a test wants.
#[derive(Debug)]
pub struct Forge<'d> {
    dir: &'d TempDir,
}

impl<'d> Forge<'d> {
    /// In the directory of a test.
    pub fn new(dir: &'d TempDir) -> Self {
        Self { dir }
    }

    /// A self-signed CA with a key of this kind (`-newkey`'s value and options) and these extensions,
    /// lines of an extension file.
    ///
    /// # Panics
    /// When OpenSSL fails, as with every method here.
    pub fn root(&self, name: &str, key: &str, extensions: &str) -> PathBuf {
        self.request(name, key, &format!("/CN={name}"));
        let extensions = self.extensions(name, &format!("{CA}{extensions}"));
        openssl(
            self.dir,
            &format!("x509 -req -in {name}.csr -signkey {name}.key {extensions} -out {name}.pem"),
        );
        self.dir.path().join(format!("{name}.pem"))
    }

    /// A CA under another one.
    pub fn ca(&self, name: &str, issuer: &str, extensions: &str) {
        self.request(name, P256, &format!("/CN={name}"));
        let extensions =
            self.extensions(name, &format!("basicConstraints=critical,CA:TRUE\n{extensions}"));
        self.sign(name, issuer, &extensions);
    }

    /// A certificate for a client or a server.
    pub fn leaf(&self, name: &str, issuer: &str, extensions: &str) -> Pair {
        self.leaf_of(name, issuer, P256, &format!("/CN={name}"), extensions, "")
    }

    /// The same with a key of another kind, another subject, and options of `openssl x509`. Without
    /// extensions it is of X.509 version 1.
    pub fn leaf_of(
        &self,
        name: &str,
        issuer: &str,
        key: &str,
        subject: &str,
        extensions: &str,
        options: &str,
    ) -> Pair {
        self.request(name, key, subject);
        let extensions = match extensions {
            "" => String::new(),
            lines => self.extensions(name, lines),
        };
        self.sign(name, issuer, &format!("{extensions} {options}"));
        pair(self.dir, name)
    }

    /// A leaf with CAs to send behind it.
    pub fn chain(&self, leaf: &str, others: &[&str]) -> Pair {
        let read = |name: &&str| {
            std::fs::read_to_string(self.dir.path().join(format!("{name}.pem")))
                .expect("a PEM file")
        };
        let all: String = [leaf].iter().chain(others).map(read).collect();
        let cert = self.dir.write(&format!("{leaf}-chain.pem"), all);
        Pair { cert, ..pair(self.dir, leaf) }
    }

    fn request(&self, name: &str, key: &str, subject: &str) {
        openssl(
            self.dir,
            &format!(
                "req -new -newkey {key} -nodes -subj {subject} -keyout {name}.key -out {name}.csr"
            ),
        );
    }

    fn extensions(&self, name: &str, lines: &str) -> String {
        self.dir.write(&format!("{name}.ext"), lines.to_owned() + "\n");
        format!("-extfile {name}.ext")
    }

    fn sign(&self, name: &str, issuer: &str, more: &str) {
        openssl(
            self.dir,
            &format!(
                "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial \
                 {more} -out {name}.pem"
            ),
        );
    }
}

fn make_root(dir: &TempDir) {
    openssl(dir, &format!("req -x509 {NEW_KEY} -subj /CN=root -keyout root.key -out root.pem"));
}

fn issue(dir: &TempDir, name: &str, issuer: &str, more: &str) {
    openssl(
        dir,
        &format!("req -new {NEW_KEY} -subj /CN={name} -keyout {name}.key -out {name}.csr"),
    );
    openssl(
        dir,
        &format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial \
             {more} -out {name}.pem"
        ),
    );
}

fn pair(dir: &TempDir, name: &str) -> Pair {
    let file = |extension| dir.path().join(format!("{name}.{extension}"));
    Pair { cert: file("pem"), key: file("key") }
}

fn openssl(dir: &TempDir, args: &str) {
    let mut command = Command::new(need("openssl"));
    command.current_dir(dir.path()).args(args.split_whitespace());
    let done = run(&mut command, b"");
    assert_eq!(done.code, Some(0), "openssl {args}: {}", done.stderr);
}
