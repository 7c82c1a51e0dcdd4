//! Settings of the whole process.

use anyhow::{Context as _, Result};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// Keeps this thread, and the threads it starts later, on these processors; on all processors if
/// the list is empty.
pub(crate) fn pin(processors: &[usize]) -> Result<()> {
    if processors.is_empty() {
        return Ok(());
    }
    let mut set = CpuSet::new();
    for processor in processors {
        anyhow::ensure!(*processor < CpuSet::MAX_CPU, "no processor {processor}");
        set.set(*processor);
    }
    sched_setaffinity(None, &set).with_context(|| format!("cannot stay on {processors:?}"))
}

/// Raises the limit of open files to the maximum that is allowed. If that is too low, opening a
/// socket fails.
pub(crate) fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
