//! The steering mode that runs, and the reason for it.

use super::{Kernel, KernelError, ModeChoice, kernel::syncookies};
use portcullis_abi::MAX_WORKERS;

/// How connections are steered to their worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// By the programs in the kernel, and by hand-off if those cannot read the name.
    Kernel,
    /// By hand-off, after a worker has read the hello.
    Handoff,
    /// The kernel spreads connections by address, and they stay there.
    None,
}

impl Mode {
    /// The name in the configuration, in metrics and in status.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Mode::Kernel => "kernel",
            Mode::Handoff => "handoff",
            Mode::None => "none",
        }
    }
}

/// The configured mode is not available.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModeError {
    /// Kernel steering needs another sysctl value.
    #[error(
        "portcullis.steering.mode is kernel, but net.ipv4.tcp_syncookies is {0} in this network \
         namespace; run `sysctl -w net.ipv4.tcp_syncookies=2` (it affects every listener in the \
         namespace), or set the mode to auto"
    )]
    Syncookies(String),
    /// The programs cannot be attached.
    #[error(
        "portcullis.steering.mode is kernel, but the programs cannot be attached: {0}; start as \
         root or with AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_NET_ADMIN, or set the mode to \
         auto"
    )]
    Attach(#[from] KernelError),
    /// There are more workers than lines in the table of loads.
    #[error(
        "portcullis.steering.mode is {0}, which supports at most {MAX_WORKERS} workers; reduce \
         portcullis.workers, or set the mode to auto"
    )]
    TooManyWorkers(&'static str),
}

/// The chosen mode.
pub(super) struct Decided {
    pub(super) mode: Mode,
    pub(super) reason: String,
    pub(super) kernel: Option<Kernel>,
}

/// Chooses the mode, and attaches the programs if it is `kernel`.
pub(super) fn decide(
    choice: ModeChoice,
    workers: usize,
    attach: impl FnOnce() -> Result<Kernel, KernelError>,
) -> Result<Decided, ModeError> {
    let too_many = workers > MAX_WORKERS as usize;
    let decided = |mode, reason: &str| Decided { mode, reason: reason.to_owned(), kernel: None };
    match choice {
        ModeChoice::None => Ok(decided(Mode::None, "as configured")),
        ModeChoice::Kernel if too_many => Err(ModeError::TooManyWorkers("kernel")),
        ModeChoice::Handoff if too_many => Err(ModeError::TooManyWorkers("handoff")),
        ModeChoice::Handoff => Ok(decided(Mode::Handoff, "as configured")),
        ModeChoice::Kernel => {
            let kernel = Some(by_kernel(attach)?);
            Ok(Decided { mode: Mode::Kernel, reason: "as configured".to_owned(), kernel })
        }
        ModeChoice::Auto if too_many => Ok(decided(Mode::None, "more than 128 workers")),
        ModeChoice::Auto if workers == 1 => Ok(decided(Mode::None, "one worker")),
        ModeChoice::Auto => Ok(match by_kernel(attach) {
            Ok(kernel) => Decided {
                mode: Mode::Kernel,
                reason: "the programs are attached and net.ipv4.tcp_syncookies is 2".to_owned(),
                kernel: Some(kernel),
            },
            Err(error) => decided(Mode::Handoff, &without_hint(&error)),
        }),
    }
}

fn by_kernel(attach: impl FnOnce() -> Result<Kernel, KernelError>) -> Result<Kernel, ModeError> {
    match syncookies() {
        Ok(2) => Ok(attach()?),
        Ok(other) => Err(ModeError::Syncookies(other.to_string())),
        Err(error) => Err(ModeError::Syncookies(format!("unreadable ({error})"))),
    }
}

fn without_hint(error: &ModeError) -> String {
    match error {
        ModeError::Syncookies(found) => {
            format!("kernel steering needs net.ipv4.tcp_syncookies=2, which is {found} here")
        }
        ModeError::Attach(error) => format!("kernel steering is not available: {error}"),
        ModeError::TooManyWorkers(_) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> KernelError {
        KernelError::NotPermitted
    }

    fn refused() -> Result<Kernel, KernelError> {
        Err(error())
    }

    #[test]
    fn auto_steers_only_several_workers_and_without_the_kernel_too() {
        let mode = |workers| decide(ModeChoice::Auto, workers, refused).unwrap().mode;
        assert_eq!(
            [1, 2, 128, 129].map(mode),
            [Mode::None, Mode::Handoff, Mode::Handoff, Mode::None]
        );
    }

    #[test]
    fn a_configured_mode_that_is_not_available_is_an_error() {
        for (choice, workers) in
            [(ModeChoice::Kernel, 2), (ModeChoice::Kernel, 129), (ModeChoice::Handoff, 129)]
        {
            assert!(decide(choice, workers, refused).is_err(), "{choice:?} {workers}");
        }
        assert_eq!(decide(ModeChoice::Handoff, 1, refused).unwrap().mode, Mode::Handoff);
        assert_eq!(decide(ModeChoice::None, 1000, refused).unwrap().mode, Mode::None);
    }

    #[test]
    fn the_error_names_the_command_that_fixes_it() {
        let error = ModeError::Syncookies("1".to_owned()).to_string();
        assert!(error.contains("sysctl -w net.ipv4.tcp_syncookies=2"), "{error}");
        let error = ModeError::Attach(self::error()).to_string();
        assert!(error.contains("CAP_BPF CAP_PERFMON CAP_NET_ADMIN"), "{error}");
    }
}
