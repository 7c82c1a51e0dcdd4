//! `cargo xtask bench instructions`: the instructions that the small pieces take, and the check
//! that they do not grow unnoticed.
//!
//! Speed cannot be tested on shared machines. Instruction counts can: callgrind emulates a
//! processor, and its counts are the same on a busy machine as on an idle one.

mod callgrind;
mod record;
mod tools;

use anyhow::{Result, ensure};

use crate::{command::root, packages};
use record::{Counts, Record};
use tools::Tools;

const RECORD: &str = "proxy/benches/instructions.json";

/// Options of `cargo xtask bench instructions`.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct Options {
    /// Fail if a count exceeds the recorded one.
    #[arg(long)]
    check: bool,
    /// Record the counts.
    #[arg(long)]
    update: bool,
}

/// Counts, and prints, checks or records the result.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options {
        Options { check: true, .. } => check(),
        Options { update: true, .. } => update(),
        _ => show(),
    }
}

/// Fails if a count has grown by more than the margin.
pub(crate) fn check() -> Result<()> {
    let (recorded, here) = (Record::read(&root().join(RECORD))?, count()?);
    print(&here.counts, Some(&recorded.counts));
    let margin = here.tools.margin_to(&recorded.tools);
    if margin.is_none() {
        println!(
            "The recorded counts were made with\n{}\nThis machine has\n{}",
            recorded.tools, here.tools
        );
        println!("So the differences below prove nothing.");
    }
    let complaints = record::grown(&recorded.counts, &here.counts, margin);
    ensure!(
        complaints.is_empty(),
        "{}\nIf the change is worth these instructions, record them with \
         `cargo xtask bench instructions --update`, and give the reason in the commit",
        complaints.join("\n")
    );
    Ok(())
}

/// Prints the counts beside the recorded ones.
pub(super) fn show() -> Result<()> {
    let recorded = Record::read(&root().join(RECORD)).ok();
    print(&count()?.counts, recorded.as_ref().map(|record| &record.counts));
    Ok(())
}

fn update() -> Result<()> {
    let here = count()?;
    print(&here.counts, None);
    here.write(&root().join(RECORD))
}

fn count() -> Result<Record> {
    packages::ensure(packages::INSTRUCTIONS)?;
    Ok(Record { tools: Tools::here()?, counts: callgrind::count()? })
}

fn print(counts: &Counts, recorded: Option<&Counts>) {
    for (name, count) in counts {
        let before = recorded.and_then(|recorded| recorded.get(name));
        match before {
            Some(before) if before != count => {
                let change = 100.0 * (*count as f64 / *before as f64 - 1.0);
                println!("{count:>10}  {name} ({change:+.1} %)");
            }
            _ => println!("{count:>10}  {name}"),
        }
    }
}
