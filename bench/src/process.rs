//! What is set once for the whole process.

use anyhow::{Context as _, Result};
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CpuSet, sched_setaffinity},
};

/// Keeps this thread, and those it starts from now on, on these processors; on all when there are
/// none.
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

/// Raises the limit of open files to the most that is allowed. Where that is too little, a socket
/// will say so.
pub(crate) fn allow_many_sockets() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
