//! Which file is the configuration.

use std::path::{Path, PathBuf};

/// Where the configuration is unless another file is named.
const DEFAULT_PATH: &str = "/etc/portcullis/config.yaml";

/// A file, which may be missing if nobody has named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConfigLocation {
    /// Its path.
    pub path: PathBuf,
    /// Whether the environment alone may be the configuration if there is no such file, as for
    /// Pomerium without `-config`.
    pub may_be_missing: bool,
}

impl ConfigLocation {
    /// A file that has to be there.
    pub(crate) fn named(path: &Path) -> ConfigLocation {
        ConfigLocation { path: path.to_owned(), may_be_missing: false }
    }
}

/// The file of an installation.
impl Default for ConfigLocation {
    fn default() -> ConfigLocation {
        ConfigLocation { path: DEFAULT_PATH.into(), may_be_missing: true }
    }
}
