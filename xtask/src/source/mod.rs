//! `cargo xtask source`: checks of the proxy's source that rustc and clippy do not make.
//!
//! - A type name that is visible outside its file is defined once in the crate.
//! - No function outside tests is longer than 60 lines.

mod items;
mod length;
mod tokens;
mod tree;
mod vocabulary;

use anyhow::{Context, Result, ensure};

use crate::command::root;
use tree::SourceFile;

/// Type names that may be defined more than once, each with its reason.
const EXCEPTIONS: &[vocabulary::Exception] = &[];

/// Prints every duplicate name and every long function, and fails if there is one.
pub(crate) fn check() -> Result<()> {
    let crate_root = root().join("proxy/src");
    let texts = tree::read(&crate_root)
        .with_context(|| format!("cannot read the sources in {}", crate_root.display()))?;
    let files = tree::parse(&texts);
    let problems = problems(&files, EXCEPTIONS);
    for problem in &problems {
        println!("{problem}");
    }
    ensure!(problems.is_empty(), "{} problems in the source text", problems.len());
    println!("{} files: each type name once, no function too long", files.len());
    Ok(())
}

fn problems(files: &[SourceFile], exceptions: &[vocabulary::Exception]) -> Vec<String> {
    let mut problems = vocabulary::problems(files, exceptions);
    problems.extend(length::problems(files));
    problems
}
