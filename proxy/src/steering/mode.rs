//! The steering mode that runs, and the reason for it.

use super::{CookieSource, Kernel, KernelError, ModeChoice, NoCookies, NoRoomForCatcher};
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
    /// The kernel would send no SYN cookies.
    #[error("portcullis.steering.mode is kernel, but {problem}; {fix}, or set the mode to auto", fix = fix(problem))]
    Cookies {
        /// The reason.
        problem: NoCookies,
    },
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
    pub(super) cookies: CookieSource,
}

/// Chooses the mode, and attaches the programs if it is `kernel`.
pub(super) fn decide(
    choice: ModeChoice,
    workers: usize,
    cookies: Result<CookieSource, NoCookies>,
    attach: impl FnOnce(CookieSource) -> Result<Kernel, KernelError>,
) -> Result<Decided, ModeError> {
    let too_many = workers > MAX_WORKERS as usize;
    let by_kernel = || by_kernel(cookies, attach);
    let decided = |mode, reason: &str| Decided {
        mode,
        reason: reason.to_owned(),
        kernel: None,
        cookies: CookieSource::None,
    };
    match choice {
        ModeChoice::None => Ok(decided(Mode::None, "as configured")),
        ModeChoice::Kernel if too_many => Err(ModeError::TooManyWorkers("kernel")),
        ModeChoice::Handoff if too_many => Err(ModeError::TooManyWorkers("handoff")),
        ModeChoice::Handoff => Ok(decided(Mode::Handoff, "as configured")),
        ModeChoice::Kernel => {
            let (kernel, cookies) = by_kernel()?;
            let reason = "as configured".to_owned();
            Ok(Decided { mode: Mode::Kernel, reason, kernel: Some(kernel), cookies })
        }
        ModeChoice::Auto if too_many => Ok(decided(Mode::None, "more than 128 workers")),
        ModeChoice::Auto if workers == 1 => Ok(decided(Mode::None, "one worker")),
        ModeChoice::Auto => Ok(match by_kernel() {
            Ok((kernel, cookies)) => Decided {
                mode: Mode::Kernel,
                reason: "the programs are attached and the kernel sends SYN cookies".to_owned(),
                kernel: Some(kernel),
                cookies,
            },
            Err(error) => decided(Mode::Handoff, &without_hint(&error)),
        }),
    }
}

fn by_kernel(
    cookies: Result<CookieSource, NoCookies>,
    attach: impl FnOnce(CookieSource) -> Result<Kernel, KernelError>,
) -> Result<(Kernel, CookieSource), ModeError> {
    let cookies = cookies.map_err(|problem| ModeError::Cookies { problem })?;
    Ok((attach(cookies)?, cookies))
}

/// What the operator can do.
fn fix(problem: &NoCookies) -> &'static str {
    match problem {
        NoCookies::Syncookies(_) => "run `sysctl -w net.ipv4.tcp_syncookies=1`",
        NoCookies::NoTimestamps => "run `sysctl -w net.ipv4.tcp_timestamps=1`",
        NoCookies::NoRoomForCatcher(NoRoomForCatcher::Descriptors(_)) => {
            "set LimitNOFILE=65536 in the systemd unit, or run `ulimit -n 65536` before the start"
        }
        NoCookies::NoRoomForCatcher(NoRoomForCatcher::Backlog(_)) => {
            "run `sysctl -w net.core.somaxconn=4096`"
        }
        NoCookies::NoRoomForCatcher(NoRoomForCatcher::Addresses(_)) => {
            "listen at fewer addresses, or set net.ipv4.tcp_syncookies=2"
        }
        NoCookies::NoCatcher | NoCookies::NotYet | NoCookies::Catcher { .. } => "see the log",
    }
}

fn without_hint(error: &ModeError) -> String {
    match error {
        ModeError::Cookies { problem } => format!("kernel steering is not available: {problem}"),
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

    fn decided(choice: ModeChoice, workers: usize) -> Result<Decided, ModeError> {
        decide(choice, workers, Ok(CookieSource::Catcher), |_| Err(error()))
    }

    #[test]
    fn auto_steers_only_several_workers_and_without_the_kernel_too() {
        let mode = |workers| decided(ModeChoice::Auto, workers).unwrap().mode;
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
            assert!(decided(choice, workers).is_err(), "{choice:?} {workers}");
        }
        assert_eq!(decided(ModeChoice::Handoff, 1).unwrap().mode, Mode::Handoff);
        assert_eq!(decided(ModeChoice::None, 1000).unwrap().mode, Mode::None);
    }

    #[test]
    fn without_cookies_nothing_is_attached_and_the_reason_says_why() {
        let decide = |choice| {
            let cookies = Err(NoCookies::Syncookies("0".to_owned()));
            decide(choice, 2, cookies, |_| panic!("attached"))
        };
        let auto = decide(ModeChoice::Auto).unwrap();
        assert_eq!(auto.mode, Mode::Handoff);
        assert!(auto.reason.contains("net.ipv4.tcp_syncookies is 0"), "{}", auto.reason);
        assert!(decide(ModeChoice::Kernel).is_err());
    }

    #[test]
    fn the_error_names_the_command_that_fixes_it() {
        for (problem, command) in [
            (NoCookies::Syncookies("0".to_owned()), "sysctl -w net.ipv4.tcp_syncookies=1"),
            (NoCookies::NoTimestamps, "sysctl -w net.ipv4.tcp_timestamps=1"),
            (NoRoomForCatcher::Descriptors(1024).into(), "ulimit -n 65536"),
            (NoRoomForCatcher::Addresses(99).into(), "fewer addresses"),
            (NoRoomForCatcher::Backlog(128).into(), "sysctl -w net.core.somaxconn=4096"),
        ] {
            let error = ModeError::Cookies { problem }.to_string();
            assert!(error.contains(command), "{error}");
        }
        let error = ModeError::Attach(error()).to_string();
        assert!(error.contains("CAP_BPF CAP_PERFMON CAP_NET_ADMIN"), "{error}");
    }
}
