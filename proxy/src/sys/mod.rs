//! Raw system calls, shared memory and the allocator. The only room with `unsafe`; system calls that
//! rustix offers go through rustix.

mod allocator;
mod defer_accept;
mod inherited;
mod kernel_version;
mod local_address;
mod mapped_slots;
mod netlink;
mod tcp_state;
mod unacknowledged;

pub use allocator::Allocator;
pub(crate) use allocator::give_memory_back;
pub(crate) use defer_accept::defer_accept;
pub(crate) use inherited::take_inherited;
pub(crate) use kernel_version::require_supported_kernel;
pub(crate) use local_address::is_local_address;
pub(crate) use mapped_slots::MappedSlots;
pub(crate) use tcp_state::TcpStates;
pub(crate) use unacknowledged::unacknowledged_bytes;

use std::{io, num::NonZeroUsize};

use rustix::{
    process::{
        DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setpriority_process,
        setrlimit,
    },
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

/// The cores that this process may run on, in order.
pub(crate) fn allowed_cores() -> io::Result<Vec<usize>> {
    let set = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect())
}

/// Pins the calling thread to one core.
pub(crate) fn pin_to_core(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    if core >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    set.set(core);
    sched_setaffinity(None, &set)?;
    Ok(())
}

/// Lowers the priority of the calling thread, and of threads that it starts, to a nice value of 1 to
/// 19. On Linux the call for "this process" means this thread alone.
pub(crate) fn lower_thread_priority(niceness: i32) -> io::Result<()> {
    Ok(setpriority_process(None, niceness)?)
}

/// Makes this process leave no core dump, and closes its memory and descriptors to debuggers of the
/// same user: all of them hold keys.
pub(crate) fn forbid_core_dumps() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// Allows core dumps after [`forbid_core_dumps`], or sets their size to 0 for good.
pub(crate) fn settle_core_dumps(allowed: bool) -> io::Result<()> {
    if allowed {
        return Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?);
    }
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// Raises the limit of open descriptors to its maximum; returns the limit in force, or `None` if
/// there is none.
pub fn raise_descriptor_limit() -> Option<NonZeroUsize> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A refusal leaves the limit as it is.
    let _ = setrlimit(Resource::Nofile, limit);
    let in_force = getrlimit(Resource::Nofile).current?;
    NonZeroUsize::new(usize::try_from(in_force).ok()?)
}

/// How much memory the processes of this user may lock, as text.
pub(crate) fn locked_memory_limit() -> String {
    match getrlimit(Resource::Memlock).current {
        Some(bytes) => format!("{} KiB", bytes >> 10),
        None => "any amount".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_stays_on_the_core_it_is_pinned_to() {
        let cores = allowed_cores().unwrap();
        let last = *cores.last().unwrap();
        std::thread::spawn(move || {
            pin_to_core(last).unwrap();
            assert_eq!(allowed_cores().unwrap(), [last]);
        })
        .join()
        .unwrap();
        assert!(pin_to_core(usize::MAX).is_err());
    }

    #[test]
    fn a_lower_priority_is_that_of_one_thread_alone() {
        use rustix::process::getpriority_process;
        let before = getpriority_process(None).unwrap();
        std::thread::spawn(|| {
            lower_thread_priority(10).unwrap();
            assert_eq!(getpriority_process(None).unwrap(), 10);
        })
        .join()
        .unwrap();
        assert_eq!(getpriority_process(None).unwrap(), before);
    }

    #[test]
    fn the_descriptor_limit_is_raised_to_its_maximum() {
        let in_force = raise_descriptor_limit().map(NonZeroUsize::get);
        let maximum = getrlimit(Resource::Nofile).maximum;
        assert_eq!(in_force, maximum.and_then(|limit| usize::try_from(limit).ok()));
    }
}
