//! `cargo xtask bench instructions`: how many instructions the small pieces take, and the ratchet
//! that keeps them from growing unseen.
//!
//! Speed cannot be tested on machines that others share. Counts can: callgrind runs the program on
//! a processor of its own making, and finds the same on a busy machine as on an idle one.

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
    /// Fail where a count has grown over the one on record.
    #[arg(long)]
    check: bool,
    /// Put the counts on record.
    #[arg(long)]
    update: bool,
}

/// Counts, and shows, checks or records it.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options {
        Options { check: true, .. } => check(),
        Options { update: true, .. } => update(),
        _ => show(),
    }
}

/// Fails where a count has grown by more than the margin.
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
        "{}\nWhere that is the price of something, put it on record by \
         `cargo xtask bench instructions --update`, and say in the commit of what",
        complaints.join("\n")
    );
    Ok(())
}

/// Prints the counts beside those on record.
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
