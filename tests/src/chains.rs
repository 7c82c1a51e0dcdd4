//! Chains that mkcert cannot make, made with OpenSSL in the directory of a test.

use std::{path::PathBuf, process::Command};

use crate::{pki::Pair, process::run, tempdir::TempDir, tools::need};

const NEW_KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

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

/// A client certificate of version 1, the default of `openssl x509 -req`.
///
/// # Panics
/// When OpenSSL fails.
pub fn version_1(dir: &TempDir) -> Chain {
    make_root(dir);
    issue(dir, "old", "root", "");
    Chain { client: pair(dir, "old"), root: dir.path().join("root.pem") }
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
