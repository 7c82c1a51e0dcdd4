//! Development certificates by mkcert, from a CA that is not installed in any trust store.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{command, shown};

/// A certificate and its private key, as PEM files.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// A CA in its own directory. An existing CA is kept, since a browser may trust it.
pub(crate) struct Authority(PathBuf);

impl Authority {
    /// The CA in `directory`.
    pub(crate) fn in_directory(directory: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        Ok(Self(directory))
    }

    /// The CA's certificate, which exists once the CA has issued another one.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.join("rootCA.pem")
    }

    /// Issues a new certificate as `name.pem` and `name-key.pem`, with mkcert's arguments.
    pub(crate) fn issue(&self, directory: &Path, name: &str, arguments: &[&str]) -> Result<Pair> {
        let certificate = directory.join(format!("{name}.pem"));
        let key = directory.join(format!("{name}-key.pem"));
        let mut mkcert = command("mkcert");
        mkcert.env("CAROOT", &self.0).args(["-ecdsa", "-cert-file"]).arg(&certificate);
        let output = mkcert.arg("-key-file").arg(&key).args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{} failed: {said}", shown(&mkcert));
        Ok(Pair { certificate, key })
    }
}
