//! From a document and the environment to a [`Config`].
//!
//! A source supplies the text (`source`), which becomes a document (`file`, `places`). Variables
//! override its keys (`env`), and one check per section turns it into the model (`check`) and
//! reports every mistake with its place. One table describes all keys (`keys`).

mod check;
mod context;
mod diagnostic;
mod durations;
mod elements;
mod encoding;
mod entries;
mod env;
mod file;
mod keys;
mod model;
mod pieces;
mod places;
pub(crate) mod probe;
mod reference;
mod renewal;
mod section;
pub(crate) mod source;
mod tabs;
#[cfg(test)]
pub(crate) mod tests;
mod unreadable;
mod yaml_hints;

use std::rc::Rc;

use serde_yaml::{Mapping, Value};

pub(crate) use diagnostic::{Diagnostic, Diagnostics, Severity};
pub(crate) use env::Environment;
pub(crate) use model::{Config, ReadFile, RouteConfig};
pub(crate) use reference::reference;
pub(crate) use source::{ConfigLocation, FileSource};

pub(crate) use model::FileUsage;
pub(crate) use renewal::{RenewableParts, RenewedParts};
pub(crate) use source::Source;

use context::LoadContext;
use section::Section;

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub(crate) struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Findings that do not stop it from being used.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the file, the files that it names, and the variables that override it.
///
/// # Errors
///
/// Every mistake that was found, and the files that were tried.
pub(crate) fn load(
    location: &ConfigLocation,
    environment: &Environment,
) -> Result<Loaded, Diagnostics> {
    let mut context = LoadContext::new(&location.path);
    let text = source::read(location, environment, &mut context);
    assemble(text, environment, context)
}

/// Turns the document of any source into a configuration. `text` is `None` if the document could
/// not be read, which the context knows then.
fn assemble(
    text: Option<Rc<String>>,
    environment: &Environment,
    mut context: LoadContext,
) -> Result<Loaded, Diagnostics> {
    let mut config = None;
    if let Some(text) = text {
        config = build(&text, environment, &mut context, file::parse_but_list);
        if context.list_was_not_read() {
            context = context.begin_again();
            config = build(&text, environment, &mut context, file::parse);
        }
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
    text: &Rc<String>,
    environment: &Environment,
    context: &mut LoadContext,
    parse: ParseDocument,
) -> Option<Config> {
    let mut document = document(text, context, parse)?;
    env::overlay(&mut document, environment, context);
    let root = Section::root(context, &document);
    Some(check::check(&root, environment))
}

/// How the text becomes a document.
type ParseDocument = fn(Rc<String>) -> Result<file::Document, Vec<places::YamlFault>>;

fn document(text: &Rc<String>, context: &mut LoadContext, parse: ParseDocument) -> Option<Mapping> {
    let document = match parse(Rc::clone(text)) {
        Ok(document) => document,
        Err(faults) => {
            faults.into_iter().for_each(|fault| context.report_fault(fault));
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
        // An empty file is valid: variables alone can be the whole configuration.
        Value::Null => Some(Mapping::new()),
        _ => {
            context.report_line(1, "the file is not a mapping of keys");
            None
        }
    }
}
