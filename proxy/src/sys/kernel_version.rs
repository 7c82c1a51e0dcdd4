//! The version of the running kernel.

use rustix::system::uname;

/// Major and minor version of the oldest supported kernel: Debian 12's. `rt` needs 6.0, the programs
/// of `steering` need 6.1, and `cargo xtask kernels` tests from there on.
const MIN_KERNEL: (u32, u32) = (6, 1);

/// The kernel is too old.
#[derive(Debug, thiserror::Error)]
#[error("Linux {}.{} or later is required, and this is Linux {running}", MIN_KERNEL.0, MIN_KERNEL.1)]
pub(crate) struct OldKernel {
    running: String,
}

/// Checks that the running kernel is a supported one. A release that is no number passes: then the
/// features decide.
///
/// # Errors
/// If it is older.
pub(crate) fn require_supported_kernel() -> Result<(), OldKernel> {
    let running = uname().release().to_string_lossy().into_owned();
    match version(&running) {
        Some(version) if version < MIN_KERNEL => Err(OldKernel { running }),
        _ => Ok(()),
    }
}

/// The first two numbers of a release such as `6.1.0-57-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_first_two_numbers_of_the_release() {
        assert_eq!(version("6.1.0-57-amd64"), Some((6, 1)));
        assert_eq!(version("6.12.117+deb13-amd64"), Some((6, 12)));
        assert_eq!(version("7.0-rc3"), Some((7, 0)));
        assert_eq!(version("unknown"), None);
        assert!((5, 15) < MIN_KERNEL && (6, 12) > MIN_KERNEL && MIN_KERNEL < (7, 0));
    }
}
