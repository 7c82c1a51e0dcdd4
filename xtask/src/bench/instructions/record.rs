//! The recorded counts, and the comparison of new counts with them.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::tools::Tools;

/// Instructions for one unit of each work, by its name.
pub(super) type Counts = BTreeMap<String, u64>;

/// The committed file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    /// The tools that the counts were made with.
    pub(super) tools: Tools,
    pub(super) counts: Counts,
}

impl Record {
    pub(super) fn read(path: &Path) -> Result<Record> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is malformed", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// The differences that matter: counts that exceed the recorded ones by more than the margin (a
/// share of 1) if there is a margin, and works that only one side has.
pub(super) fn grown(recorded: &Counts, counts: &Counts, margin: Option<f64>) -> Vec<String> {
    let gone = recorded.keys().filter(|name| !counts.contains_key(*name));
    let gone = gone.map(|name| format!("{name}: recorded, but no longer counted"));
    let grown = counts.iter().filter_map(|(name, count)| match (recorded.get(name), margin) {
        (None, _) => Some(format!("{name}: counted, but not recorded")),
        (Some(before), Some(margin)) if *count > limit(*before, margin) => {
            Some(format!("{name}: {count} instructions, {before} are recorded"))
        }
        _ => None,
    });
    gone.chain(grown).collect()
}

/// One more instruction is always allowed: counts are means, rounded.
fn limit(before: u64, margin: f64) -> u64 {
    before + ((before as f64 * margin) as u64).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARGIN: Option<f64> = Some(0.03);

    fn counts(of: &[(&str, u64)]) -> Counts {
        of.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    }

    fn complaints(before: u64, after: u64, margin: Option<f64>) -> usize {
        grown(&counts(&[("work", before)]), &counts(&[("work", after)]), margin).len()
    }

    #[test]
    fn a_count_may_grow_to_the_margin_and_not_beyond() {
        assert_eq!(complaints(1_000, 1_030, MARGIN), 0);
        assert_eq!(complaints(1_000, 1_031, MARGIN), 1);
    }

    #[test]
    fn a_small_count_may_be_off_by_one() {
        assert_eq!(complaints(10, 11, MARGIN), 0);
        assert_eq!(complaints(10, 12, MARGIN), 1);
    }

    #[test]
    fn a_count_that_has_fallen_is_no_fault() {
        assert_eq!(complaints(1_000, 1, MARGIN), 0);
    }

    #[test]
    fn without_a_margin_no_count_is_too_high() {
        assert_eq!(complaints(1, 1_000, None), 0);
    }

    #[test]
    fn a_work_that_only_one_side_knows_is_a_fault_with_any_margin() {
        let (none, one) = (counts(&[]), counts(&[("work", 1)]));
        for margin in [None, MARGIN] {
            assert_eq!(grown(&none, &one, margin), ["work: counted, but not recorded"]);
            assert_eq!(grown(&one, &none, margin), ["work: recorded, but no longer counted"]);
        }
    }
}
