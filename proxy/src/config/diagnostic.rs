//! What is said about a configuration, and where in it.

use std::fmt;

use serde::Serialize;

use super::model::ReadFile;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The configuration works, but perhaps not as meant.
    Warning,
    /// The configuration is refused.
    Error,
}

/// One finding: a line of text as compilers write it, or an object in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct Diagnostic {
    /// Whether it stops the configuration from being used.
    pub severity: Severity,
    /// The configuration file as it was named, or `environment variable NAME`.
    pub file: String,
    /// The line in the file, counted from 1; `None` where the value is from elsewhere or missing.
    pub line: Option<u32>,
    /// The key: `routes[0].to`; empty for what concerns the whole file.
    #[serde(rename = "key")]
    pub key_path: String,
    /// What is wrong. Never the value of a secret.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Why a configuration was refused.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostics {
    /// Every finding, warnings too, in the order of the file; at least one is an error.
    pub findings: Vec<Diagnostic>,
    /// Every file that was tried, the configuration file first, so that a broken configuration can
    /// be watched until it is corrected.
    pub files: Vec<ReadFile>,
}

impl Diagnostics {
    /// The findings that stopped it.
    pub(crate) fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.findings.iter().filter(|finding| finding.is_error())
    }

    /// The other findings.
    pub(crate) fn into_warnings(self) -> Vec<Diagnostic> {
        self.findings.into_iter().filter(|finding| !finding.is_error()).collect()
    }
}

impl Diagnostic {
    /// Whether it stops the configuration from being used.
    pub(crate) fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// `config.yaml:12: error: routes[0].to: the port is not a number (write https://host:8443)`, which
/// editors and CI services read as they read a compiler's lines.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.severity)?;
        if !self.key_path.is_empty() {
            write!(f, ": {}", self.key_path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " ({hint})"),
            None => Ok(()),
        }
    }
}

/// One line for each error.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}
