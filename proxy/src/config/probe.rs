//! Bytes of any kind where a configuration is expected. For fuzzing.

use std::{path::Path, rc::Rc};

use super::{
    Config, Diagnostic, Diagnostics, Environment, Loaded, Severity, assemble, context::LoadContext,
};

/// Takes bytes as the file of a configuration. A refusal says what is wrong, each finding is about a
/// line that the file has, and the same file has the same findings every time.
pub fn probe_config(bytes: &[u8]) -> Result<(), String> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
    let findings = findings(text)?;
    let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap_or(u32::MAX);
    for finding in &findings {
        if finding.line.is_some_and(|line| line == 0 || line > lines) {
            return Err(format!("there is no such line: {finding}"));
        }
        if finding.message.is_empty() {
            return Err(format!("nothing is said at {}", finding.key_path));
        }
    }
    if self::findings(text)? != findings {
        return Err("the same file has other findings".to_owned());
    }
    Ok(())
}

/// The configuration in a text that is one.
pub(crate) fn example(text: &str) -> Option<Config> {
    load(text).ok().map(|loaded| loaded.config)
}

fn load(text: &str) -> Result<Loaded, Diagnostics> {
    let context = LoadContext::new(Path::new("config.yaml"));
    assemble(Some(Rc::new(text.to_owned())), &Environment::default(), context)
}

fn findings(text: &str) -> Result<Vec<Diagnostic>, String> {
    let (findings, is_refused) = match load(text) {
        Ok(Loaded { warnings, .. }) => (warnings, false),
        Err(diagnostics) => (diagnostics.findings, true),
    };
    let has_error = findings.iter().any(|finding| finding.severity == Severity::Error);
    if has_error != is_refused {
        return Err(format!("refused: {is_refused}, errors: {has_error}"));
    }
    Ok(findings)
}
