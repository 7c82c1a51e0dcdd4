//! From `config.yaml` and the environment to a [`Config`].
//!
//! The text becomes a document (`file`, `places`), variables are put over it (`env`), and one check
//! a section turns it into the model (`check`), every mistake reported with its place. What each
//! key is stands in one table (`keys`).

mod check;
mod context;
mod diagnostic;
mod durations;
mod encoding;
mod env;
mod file;
mod keys;
mod model;
mod pieces;
mod places;
mod reference;
mod reload;
mod section;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_yaml::{Mapping, Value};

pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use env::Environment;
pub use model::{Config, ReadFile, Route};
pub use reference::reference;
pub use reload::Watcher;

use context::Context;
use section::Section;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What may not be as meant.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the file at `path`, what it names, and the variables that override it.
///
/// # Errors
///
/// Every mistake that was found, and the files that were tried.
pub fn load(path: &Path, environment: &Environment) -> Result<Loaded, Diagnostics> {
    let mut context = Context::new(path);
    let mut config = build(path, environment, &mut context, file::parse_but_list);
    if context.list_was_not_read() {
        context = Context::new(path);
        config = build(path, environment, &mut context, file::parse);
    }
    let (findings, files) = context.finish();
    let failed = findings.iter().any(|finding| finding.severity == Severity::Error);
    match config {
        Some(mut config) if !failed => {
            config.files = files;
            Ok(Loaded { config, warnings: findings })
        }
        _ => Err(Diagnostics { findings, files }),
    }
}

/// `None`, or a model beside which errors were reported, is a refusal.
fn build(
    path: &Path,
    environment: &Environment,
    context: &mut Context,
    parse: Parse,
) -> Option<Config> {
    let mut document = document(path, context, parse)?;
    env::overlay(&mut document, environment, context);
    let root = Section::root(context, &document);
    Some(check::check(&root, environment))
}

/// How the text becomes a document.
type Parse = fn(String) -> Result<file::Document, Vec<places::Fault>>;

fn document(path: &Path, context: &mut Context, parse: Parse) -> Option<Mapping> {
    let text = text(path, context)?;
    let document = match parse(text) {
        Ok(document) => document,
        Err(faults) => {
            for fault in faults {
                context.report_line(Some(fault.line), &fault.key_path, fault.message);
            }
            return None;
        }
    };
    context.set_places(document.places, document.list);
    let (value, clashes) = file::fold_keys(document.value, "");
    for (key_path, problem) in clashes {
        context.report(Severity::Error, &key_path, problem, None);
    }
    match value {
        Value::Mapping(mapping) => Some(mapping),
        // An empty file is what those have who configure by variables alone.
        Value::Null => Some(Mapping::new()),
        _ => {
            context.report_line(Some(1), "", "the file is not a mapping of keys".to_owned());
            None
        }
    }
}

fn text(path: &Path, context: &Context) -> Option<String> {
    let problem = match context.read(path) {
        Ok(content) => match std::str::from_utf8(&content) {
            Ok(text) => return Some(text.to_owned()),
            Err(error) => {
                let line =
                    content.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count();
                let line = u32::try_from(line + 1).ok();
                context.report_line(line, "", "is not valid UTF-8".to_owned());
                return None;
            }
        },
        Err(error) => format!("cannot be read: {}", context::reason(&error)),
    };
    context.report_line(None, "", problem);
    None
}
