//! The `process_*` metrics, as Prometheus's own clients have them.

use std::fs;

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// What the kernel says of this process. A part that it does not tell is `None`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ProcessUsage {
    pub(super) cpu_s: f64,
    pub(super) resident_bytes: Option<u64>,
    pub(super) virtual_bytes: Option<u64>,
    pub(super) open_descriptors: Option<u64>,
    pub(super) max_descriptors: Option<u64>,
}

impl ProcessUsage {
    /// As it is now. Reads files of `/proc` alone.
    pub(super) fn now() -> ProcessUsage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        ProcessUsage {
            cpu_s: cpu_s(),
            resident_bytes: kib(&status, "VmRSS:").map(|kib| kib * 1024),
            virtual_bytes: kib(&status, "VmSize:").map(|kib| kib * 1024),
            open_descriptors: open_descriptors(),
            max_descriptors: getrlimit(Resource::Nofile).current,
        }
    }
}

/// User and system time of all threads.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// A line of `/proc/self/status`, such as `VmRSS:     1234 kB`.
fn kib(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// From Linux 6.2 on, the directory's size is the number; before, its entries are counted.
fn open_descriptors() -> Option<u64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        // Without the descriptor of the directory itself.
        0 => Some((fs::read_dir(DIRECTORY).ok()?.count() as u64).saturating_sub(1)),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_this_process_uses() {
        let before = ProcessUsage::now();
        let files: Vec<_> =
            (0..100).map(|_| fs::File::open("/proc/self/status").unwrap()).collect();
        let after = ProcessUsage::now();
        // Other tests open and close files meanwhile.
        assert!(after.open_descriptors.unwrap() >= files.len() as u64);
        assert!(after.cpu_s >= before.cpu_s);
        assert!(after.resident_bytes.unwrap() > 1 << 20);
        assert!(after.virtual_bytes.unwrap() >= after.resident_bytes.unwrap());
        assert!(after.max_descriptors.is_none_or(|limit| limit >= after.open_descriptors.unwrap()));
    }

    #[test]
    fn a_line_that_is_missing_is_no_number() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(kib("Name:\tx\n", "VmRSS:"), None);
    }
}
