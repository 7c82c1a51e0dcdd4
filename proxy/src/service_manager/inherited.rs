//! The descriptors that the service manager passes to a process at its start (sd_listen_fds(3)).

use std::{
    env,
    os::fd::{OwnedFd, RawFd},
    process,
};

use crate::sys;

/// The number of the first one.
const FIRST: RawFd = 3;

/// No service manager passes more.
const MOST: RawFd = 4096;

/// A descriptor with the name that it was given.
#[derive(Debug)]
pub(crate) struct InheritedDescriptor {
    pub name: String,
    pub descriptor: OwnedFd,
}

/// Takes the descriptors that were passed to this process. Gives none when it is called again.
pub(crate) fn inherited_descriptors() -> Vec<InheritedDescriptor> {
    let variable = |name: &str| env::var(name).unwrap_or_default();
    let count = count(&variable("LISTEN_PID"), &variable("LISTEN_FDS"), process::id());
    let names = variable("LISTEN_FDNAMES");
    let names: Vec<&str> = names.split(':').collect();
    let taken = sys::take_inherited(FIRST..FIRST + count).into_iter();
    taken
        .map(|(number, descriptor)| {
            let at = usize::try_from(number - FIRST).unwrap_or(usize::MAX);
            let name = names.get(at).copied().unwrap_or_default().to_owned();
            InheritedDescriptor { name, descriptor }
        })
        .collect()
}

/// How many there are; those of another process, which this one's parent was, are not ours.
fn count(listen_pid: &str, listen_fds: &str, own_id: u32) -> RawFd {
    match (listen_pid.parse::<u32>(), listen_fds.parse::<RawFd>()) {
        (Ok(id), Ok(count)) if id == own_id => count.clamp(0, MOST),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_of_another_process_are_not_taken() {
        for (id, fds, expected) in [
            ("7", "3", 3),
            ("8", "3", 0),
            ("", "3", 0),
            ("7", "", 0),
            ("7", "-1", 0),
            ("7", "99999999999", 0),
            ("7", "100000", MOST),
        ] {
            assert_eq!(count(id, fds, 7), expected, "{id:?} {fds:?}");
        }
    }
}
