//! The programs in the kernel. This build has none, so [`Kernel`] has no value.

use std::{io, os::fd::BorrowedFd, sync::Arc};

use portcullis_abi::{Home, NameKey, SteeringSettings, Verdict, WorkerSlot};

/// Attached programs.
pub enum Kernel {}

/// Why the programs cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// They are not part of this build.
    #[error("this build has no kernel programs")]
    NotBuilt,
}

impl Kernel {
    /// Attaches to the listening sockets, of each address one for each worker in their order.
    pub fn attach(
        _groups: &[Vec<BorrowedFd<'_>>],
        _settings: SteeringSettings,
        _names: &[(NameKey, Home)],
    ) -> Result<Kernel, KernelError> {
        Err(KernelError::NotBuilt)
    }

    /// The table of loads that the programs read.
    pub fn slots(&self) -> Arc<Box<[WorkerSlot]>> {
        match *self {}
    }

    /// Puts other names in the place of those there are.
    pub fn set_names(&mut self, _names: &[(NameKey, Home)]) -> Result<(), KernelError> {
        match *self {}
    }

    /// Changes the settings.
    pub fn set_settings(&mut self, _settings: SteeringSettings) -> Result<(), KernelError> {
        match *self {}
    }

    /// What became of segments, in the order of [`Verdict::ALL`].
    pub fn counters(&self) -> Result<[u64; Verdict::ALL.len()], KernelError> {
        match *self {}
    }
}

/// `net.ipv4.tcp_syncookies` of this network namespace; IPv6 goes by it too.
pub(super) fn syncookies() -> io::Result<u8> {
    let text = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_syncookies")?;
    text.trim().parse().map_err(io::Error::other)
}
