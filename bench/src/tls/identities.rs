//! The client certificates of the load generator.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use rustls::{
    SignatureScheme, client::ResolvesClientCert, crypto::CryptoProvider, sign::CertifiedKey,
};

use super::{chain, key, unknown_certificates};
use crate::arguments::Arguments;

/// The certificates that the client presents, in turn.
#[derive(Debug)]
pub(super) struct Identities {
    all: Vec<Arc<CertifiedKey>>,
    next: AtomicUsize,
}

impl Identities {
    pub(super) fn of(arguments: &Arguments, provider: &CryptoProvider) -> Result<Self> {
        let all = match arguments.unknown_certificates {
            Some(count) => unknown_certificates(count, arguments.namesakes, provider)?,
            None => from_files(arguments, provider)?,
        };
        Ok(Self { all, next: AtomicUsize::new(0) })
    }
}

impl ResolvesClientCert for Identities {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.all.get(turn % self.all.len()).cloned()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

fn from_files(arguments: &Arguments, provider: &CryptoProvider) -> Result<Vec<Arc<CertifiedKey>>> {
    let pairs = match &arguments.client_certificates {
        Some(directory) => pairs(directory)?,
        None => vec![(arguments.cert.clone(), arguments.key.clone())],
    };
    let identity = |(cert, its_key): &(PathBuf, PathBuf)| {
        let identity = CertifiedKey::from_der(chain(cert)?, key(its_key)?, provider)?;
        Ok(Arc::new(identity))
    };
    pairs.iter().map(identity).collect()
}

/// The certificates in a directory with their keys; an error if there is none.
fn pairs(directory: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let shown = directory.display();
    let entries = std::fs::read_dir(directory).with_context(|| format!("cannot read {shown}"))?;
    let files = entries.map(|entry| Ok(entry?.path())).collect::<Result<BTreeSet<_>>>()?;
    let pair = |cert: &PathBuf| {
        let name = cert.file_name()?.to_str()?.strip_suffix(".pem")?;
        let key = cert.with_file_name(format!("{name}-key.pem"));
        files.contains(&key).then(|| (cert.clone(), key))
    };
    let pairs: Vec<_> = files.iter().filter_map(pair).collect();
    ensure!(!pairs.is_empty(), "no certificate with its key in {shown}");
    Ok(pairs)
}
