//! The directory and the ports of a demo.

use std::{
    fs::{File, TryLockError},
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use super::Options;
use crate::command::root;

/// A directory that is locked as long as this lives, and ports that were free.
pub(super) struct Place {
    pub(super) directory: PathBuf,
    _lock: File,
    pub(super) port: u16,
    pub(super) admin_port: u16,
    pub(super) upstream_port: u16,
    /// The port of the identity provider, which only the sign-in demo starts.
    pub(super) provider_port: u16,
}

impl Place {
    /// Fails before it writes anything if a demo is running there or a port is in use.
    pub(super) fn reserve(directory: PathBuf, options: &Options) -> Result<Self> {
        let lock = lock(&directory)?;
        // All ports are held until all are known, so that no two are the same.
        let [proxy, admin, upstream, provider] = [
            ("--port", options.port),
            ("--admin-port", options.admin_port),
            ("--upstream-port", options.upstream_port),
            ("--provider-port", options.provider_port),
        ]
        .map(|(flag, port)| hold(flag, port));
        let (proxy, admin, upstream, provider) = (proxy?, admin?, upstream?, provider?);
        Ok(Self {
            directory,
            _lock: lock,
            port: proxy.local_addr()?.port(),
            admin_port: admin.local_addr()?.port(),
            upstream_port: upstream.local_addr()?.port(),
            provider_port: provider.local_addr()?.port(),
        })
    }

    /// A path as a user would type it at the top of the source tree.
    pub(super) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(root()).unwrap_or(path).display()
    }
}

/// The kernel releases the lock when this process ends, for any reason.
fn lock(directory: &Path) -> Result<File> {
    std::fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    let path = directory.join("lock");
    let lock = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => bail!("a demo is running in {}", directory.display()),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

fn hold(flag: &str, port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .with_context(|| format!("port {port} is in use; {flag} chooses another"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn options(port: u16) -> Options {
        Options { port, ..Options::once() }
    }

    #[test]
    fn a_taken_port_is_refused_with_the_flag_that_helps() {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holder.local_addr().unwrap().port();
        let directory = tempfile::tempdir().unwrap();
        let error = Place::reserve(directory.path().into(), &options(taken)).err().unwrap();
        assert!(error.to_string().contains("--port"), "{error}");
    }

    #[test]
    fn a_second_demo_in_a_directory_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let reserve = || Place::reserve(directory.path().into(), &options(0));
        let first = reserve().unwrap();
        let error = reserve().err().unwrap();
        assert!(error.to_string().contains("a demo is running"), "{error}");
        drop(first);
        assert!(reserve().is_ok());
    }

    #[test]
    fn port_0_gives_different_free_ports() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::reserve(directory.path().into(), &options(0)).unwrap();
        let Place { port, admin_port, upstream_port, provider_port, .. } = place;
        let ports = BTreeSet::from([port, admin_port, upstream_port, provider_port]);
        assert_eq!(ports.len(), 4, "{ports:?}");
    }
}
