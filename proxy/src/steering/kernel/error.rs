//! Errors of kernel steering.

use std::{error::Error, io};

use aya::programs::ProgramError;
use rustix::io::Errno;

/// Why the programs are not attached, or a map is not changed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The process lacks the capabilities.
    #[error("the process lacks CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and is not root")]
    NotPermitted,
    /// The kernel's verifier rejected a program. It accepts them from the oldest supported kernel on.
    #[error(
        "the kernel's verifier rejected the program, which is a bug: report this line and the \
         output of `uname -r`: {source}: {log}"
    )]
    Refused {
        /// The error of the system call.
        source: io::Error,
        /// The last lines of the verifier's log.
        log: String,
    },
    /// Another error.
    #[error("cannot {doing}: {source}")]
    Other {
        /// The step that failed.
        doing: &'static str,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// Lines of the verifier's log that are shown: the last one is about sizes, the reason is above it.
const LOG_LINES: usize = 6;

impl KernelError {
    /// Makes an error of a failed step.
    pub(super) fn of<E: Error + Send + Sync + 'static>(doing: &'static str) -> impl Fn(E) -> Self {
        move |error| {
            if is_about_rights(&error) {
                return Self::NotPermitted;
            }
            let source: Box<dyn Error + Send + Sync> = Box::new(error);
            match source.downcast::<ProgramError>().map(|error| *error) {
                Ok(ProgramError::LoadError { io_error, verifier_log }) => {
                    Self::Refused { source: io_error, log: last_lines(&verifier_log.to_string()) }
                }
                Ok(error) => Self::Other { doing, source: Box::new(error) },
                Err(source) => Self::Other { doing, source },
            }
        }
    }
}

fn is_about_rights(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<io::Error>();
        // Not by its kind: EACCES, for a rejected program, has the same kind.
        if io.is_some_and(|io| io.raw_os_error() == Some(Errno::PERM.raw_os_error())) {
            return true;
        }
        next = error.source();
    }
    false
}

fn last_lines(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let first = lines.len().saturating_sub(LOG_LINES);
    lines.get(first..).unwrap_or_default().join("; ")
}

#[cfg(test)]
mod tests {
    use aya::maps::MapError;

    use super::*;

    #[test]
    fn missing_rights_are_found_below_other_errors() {
        let create = |errno: Errno| MapError::CreateError {
            name: "NAMES".to_owned(),
            io_error: errno.into(),
        };
        assert!(matches!(KernelError::of("x")(create(Errno::PERM)), KernelError::NotPermitted));
        let other = KernelError::of("create the maps")(create(Errno::NOMEM)).to_string();
        assert_eq!(other, "cannot create the maps: failed to create map `NAMES`");
    }

    #[test]
    fn only_the_end_of_the_verifier_s_log_is_shown() {
        let log: Vec<String> = (0..100).map(|line| line.to_string()).collect();
        assert_eq!(last_lines(&log.join("\n")), "94; 95; 96; 97; 98; 99");
        assert_eq!(last_lines("one"), "one");
    }
}
