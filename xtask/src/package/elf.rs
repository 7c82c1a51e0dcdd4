//! What a binary needs of the system's C library.

use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{command, said_by};

/// The newest version of glibc whose symbols the binary uses: `2.34`.
pub(super) fn glibc_version(binary: &Path) -> Result<String> {
    let versions = said_by(command("readelf").args(["--version-info", "--wide"]).arg(binary))?;
    newest_glibc(&versions).context("the binary names no version of glibc")
}

fn newest_glibc(versions: &str) -> Option<String> {
    let named = versions.split("GLIBC_").skip(1);
    let numbers = named.filter_map(|rest| {
        let end = rest.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(rest.len());
        let parts: Option<Vec<u32>> =
            rest[..end].split('.').map(|part| part.parse().ok()).collect();
        parts
    });
    let newest = numbers.max()?;
    Some(newest.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let versions = "Name: GLIBC_2.9  Flags\nName: GLIBC_2.34 Flags\nName: GLIBC_2.2.5 Flags";
        assert_eq!(newest_glibc(versions).as_deref(), Some("2.34"));
        assert_eq!(newest_glibc("Name: GLIBC_PRIVATE"), None);
    }
}
