//! The known name that a misspelt one probably stands for.

use strsim::osa_distance;

/// The known name that differs least from an unknown one, if it is a plausible typing error:
/// insertions, deletions, substitutions and swaps of neighbours, one for each four letters.
pub(crate) fn did_you_mean(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    let allowed = (name.len() / 4).clamp(1, MAX_SLIPS);
    known
        // Names of very different lengths are not compared: a name may be a kilobyte long.
        .filter(|candidate| candidate.len().abs_diff(name.len()) <= MAX_SLIPS)
        .map(|candidate| (osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// More differences than this make another word.
const MAX_SLIPS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 4] = ["address", "from", "routes", "timeout_read"];

    fn suggestion(name: &str) -> Option<&'static str> {
        did_you_mean(name, KNOWN.into_iter())
    }

    #[test]
    fn a_typing_error_finds_the_name_that_was_meant() {
        for (name, expected) in [
            ("adress", "address"),
            ("form", "from"),
            ("rotues", "routes"),
            ("route", "routes"),
            ("tmieout_raed", "timeout_read"),
        ] {
            assert_eq!(suggestion(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn a_name_that_differs_too_much_finds_nothing() {
        for name in ["", "frog_", "routes_of_mine", "tmieout_raed_", &"a".repeat(1 << 20)] {
            let expected = (name == "tmieout_raed_").then_some("timeout_read");
            assert_eq!(suggestion(name), expected, "{}", name.len());
        }
    }
}
