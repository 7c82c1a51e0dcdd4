//! Configurations with placeholders, `@name@`.

use anyhow::{Result, bail};

/// Fills every placeholder. A placeholder without a value is an error, so that no peer is measured
/// with an incomplete configuration.
pub(super) fn fill(template: &str, values: &[(&str, &str)]) -> Result<String> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, place, after)) = next_place(rest) {
        let Some((_, value)) = values.iter().find(|(name, _)| *name == place) else {
            bail!("no value for @{place}@");
        };
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// The text before the first placeholder, its name, and the text after it.
fn next_place(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(at) = text.get(from..)?.find('@').map(|at| from + at) {
        let (name, after) = text.get(at + 1..)?.split_once('@')?;
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        if !name.is_empty() && name.chars().all(is_name) {
            return Some((text.get(..at)?, name, after));
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_wherever_it_stands() {
        let filled = fill("@a@ b@a@@c_d@\n", &[("a", "1"), ("c_d", "2")]).unwrap();
        assert_eq!(filled, "1 b12\n");
    }

    #[test]
    fn a_place_without_a_value_is_an_error_that_names_it() {
        let error = fill("x @edge@", &[("ca", "1")]).unwrap_err().to_string();
        assert!(error.contains("@edge@"), "{error}");
    }

    #[test]
    fn what_is_no_place_stays() {
        let text = "\"@type\": type.googleapis.com, a@b.example, \"@type\": x";
        assert_eq!(fill(text, &[]).unwrap(), text);
    }

    #[test]
    fn a_value_is_not_read_again() {
        assert_eq!(fill("@a@", &[("a", "@b@")]).unwrap(), "@b@");
    }
}
