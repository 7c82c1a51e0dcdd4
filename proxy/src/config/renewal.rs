//! Renewal of parts of a configuration: server certificates, CRLs and ticket keys, if nothing but the
//! content of their files has changed.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    check::{is_world_readable, stale_crls},
    context::read_limited,
    model::{Config, FileUsage, ReadFile},
};
use crate::{
    digest::sha256,
    tls::{CertificateFiles, CertificateWithKey, CrlBundle, CrlStore, TicketSecret},
};

/// The parts of the configuration in use that can be renewed without a load of the whole.
#[derive(Debug, Default)]
pub(crate) struct RenewableParts {
    /// In the order of the configuration.
    certificates: Vec<Arc<CertificateWithKey>>,
    crls: Option<Arc<CrlStore>>,
    ticket_key_files: Vec<PathBuf>,
}

/// Parts whose files were read again. A part of which no file has changed is `None`.
#[derive(Debug, Default)]
pub(crate) struct RenewedParts {
    /// All server certificates, in the order of the configuration.
    pub(crate) certificates: Option<Vec<Arc<CertificateWithKey>>>,
    /// The names of the certificates that are new, for the log.
    pub(crate) names: Vec<String>,
    /// All CRLs.
    pub(crate) crls: Option<Arc<CrlBundle>>,
    /// All ticket keys.
    pub(crate) ticket_keys: Option<Vec<TicketSecret>>,
    /// What is odd about them.
    pub(crate) warnings: Vec<String>,
    /// The files as they were read.
    pub(crate) files: Vec<ReadFile>,
}

impl RenewableParts {
    /// The parts of a configuration that is about to be compiled.
    pub(crate) fn of(config: &Config) -> RenewableParts {
        RenewableParts {
            certificates: config.tls.iter().flat_map(|tls| tls.certificates.clone()).collect(),
            crls: config.crls.clone(),
            ticket_key_files: config.ticket_key_files.clone(),
        }
    }

    /// Reads the parts that the changed files belong to. `None` if a file belongs to the rest of the
    /// configuration, or holds a mistake: then a load of the whole reports it, in its place.
    pub(crate) fn read(&self, changed: &[ReadFile]) -> Option<RenewedParts> {
        let mut renewed = RenewedParts::default();
        if changed.is_empty() || changed.iter().any(|file| file.usage == FileUsage::Other) {
            return None;
        }
        let of = |usage| {
            let files = changed.iter().filter(move |file| file.usage == usage);
            files.map(|file| &*file.path).collect::<HashSet<&Path>>()
        };
        let certificates = of(FileUsage::ServerCertificate);
        if !certificates.is_empty() {
            self.read_certificates(&certificates, &mut renewed)?;
        }
        if !of(FileUsage::TicketKey).is_empty() {
            self.read_ticket_keys(&mut renewed)?;
        }
        for path in of(FileUsage::Crl) {
            self.read_crls(path, &mut renewed)?;
        }
        Some(renewed)
    }

    /// Remembers what has come into use.
    pub(crate) fn applied(&mut self, renewed: &RenewedParts) {
        if let Some(certificates) = &renewed.certificates {
            self.certificates.clone_from(certificates);
        }
    }

    fn read_certificates(
        &self,
        changed: &HashSet<&Path>,
        renewed: &mut RenewedParts,
    ) -> Option<()> {
        let is_changed = |(cert, key): &CertificateFiles| {
            changed.contains(cert.as_path()) || changed.contains(key.as_path())
        };
        let mut certificates = self.certificates.clone();
        for certificate in &mut certificates {
            let Some(files) = certificate.files.as_ref().filter(|files| is_changed(files)) else {
                continue;
            };
            let (read, contents) = read_pair(files)?;
            if is_world_readable(&files.1) {
                return None;
            }
            for (path, _, digest) in contents {
                renewed.note(path, digest, FileUsage::ServerCertificate);
            }
            renewed.names.extend(read.names.iter().cloned());
            *certificate = Arc::new(read);
        }
        renewed.certificates = Some(certificates);
        Some(())
    }

    fn read_ticket_keys(&self, renewed: &mut RenewedParts) -> Option<()> {
        let mut secrets: Vec<TicketSecret> = Vec::new();
        for path in &self.ticket_key_files {
            let (content, digest) = read(path)?;
            let secret = TicketSecret::new(&content).ok()?;
            if is_world_readable(path) || secrets.iter().any(|known| known.has_name_of(&secret)) {
                return None;
            }
            secrets.push(secret);
            renewed.note(path.clone(), digest, FileUsage::TicketKey);
        }
        renewed.ticket_keys = Some(secrets);
        Some(())
    }

    fn read_crls(&self, path: &Path, renewed: &mut RenewedParts) -> Option<()> {
        let store = self.crls.as_ref()?;
        let (content, digest) = read(path)?;
        let bundle = CrlBundle::from_pem(&content, path.to_str()?).ok()?;
        let remarks = bundle.remarks.iter().map(|remark| format!("{}, {remark}", bundle.origin));
        renewed.warnings.extend(remarks);
        renewed.warnings.extend(stale_crls(&bundle));
        renewed.warnings.extend(store.verify(&bundle));
        renewed.crls = Some(Arc::new(bundle));
        renewed.note(path.to_owned(), digest, FileUsage::Crl);
        Some(())
    }
}

impl RenewedParts {
    fn note(&mut self, path: PathBuf, digest: [u8; 32], usage: FileUsage) {
        self.files.push(ReadFile { path, digest: Some(digest), usage });
    }
}

/// A file that was read, with its digest.
pub(super) type FileContent = (PathBuf, Vec<u8>, [u8; 32]);

/// Reads a certificate with its key, and returns the content of both files too. `None` if one cannot
/// be read, or if they are not good.
pub(super) fn read_pair(
    files: &CertificateFiles,
) -> Option<(CertificateWithKey, [FileContent; 2])> {
    let (cert_path, key_path) = files;
    let content = |path: &PathBuf| {
        let (content, digest) = read(path)?;
        Some((path.clone(), content, digest))
    };
    let contents = [content(cert_path)?, content(key_path)?];
    let origin = format!("{} and {}", cert_path.to_str()?, key_path.to_str()?);
    let read = CertificateWithKey::from_pem(&contents[0].1, &contents[1].1, &origin).ok()?;
    Some((CertificateWithKey { files: Some(files.clone()), ..read }, contents))
}

fn read(path: &Path) -> Option<(Vec<u8>, [u8; 32])> {
    let content = read_limited(path).ok()?;
    let digest = sha256(&content);
    Some((content, digest))
}
