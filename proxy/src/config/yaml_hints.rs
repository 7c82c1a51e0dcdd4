//! What to do about a text that is not YAML, guessed from the lines around the place.

/// A hint for what a parser said about a line, counted from 1.
pub(super) fn hint(problem: &str, line: u32, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = usize::try_from(line).ok()?.checked_sub(1)?;
    let (number, found) = nearest_content(&lines, at)?;
    if found.trim_start_matches(' ').starts_with('\t') || problem.contains("tab") {
        return Some("indent by spaces: YAML allows no tabs there".to_owned());
    }
    let (before, above) =
        lines.get(..number)?.iter().enumerate().rev().find(|(_, it)| has_content(it))?;
    if is_item(found) && spaces(found) <= spaces(above) && !is_item(above) {
        return Some(format!(
            "line {} begins a list: is the key of that list missing above it, such as `routes:`?",
            number + 1
        ));
    }
    if problem.contains("mapping values are not allowed") && indent(found) > indent(above) {
        return Some(format!(
            "line {} is indented deeper than line {}, which has a value: indent both alike, or \
             write the key that is missing between them",
            number + 1,
            before + 1
        ));
    }
    let is_like = |line: &&str| has_content(line) && indent(line) == indent(found);
    if problem.contains("did not find expected key") && !lines.iter().take(number).any(is_like) {
        return Some(format!(
            "line {} is indented like no line above it: indent it like the lines that it belongs to",
            number + 1
        ));
    }
    None
}

/// The line at this place, or the last one before it that has something in it, and its place.
fn nearest_content<'t>(lines: &[&'t str], at: usize) -> Option<(usize, &'t str)> {
    let until = lines.get(..=at.min(lines.len().checked_sub(1)?))?;
    until.iter().enumerate().rev().find(|(_, line)| has_content(line)).map(|(at, line)| (at, *line))
}

fn has_content(line: &str) -> bool {
    let content = line.trim();
    !content.is_empty() && !content.starts_with('#')
}

fn is_item(line: &str) -> bool {
    let content = line.trim_start();
    content.starts_with("- ") || content == "-"
}

fn spaces(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// The column of the first key of a line: behind the dashes of lists.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}

#[cfg(test)]
mod tests {
    use super::super::file;

    fn hint(text: &str) -> Option<String> {
        file::parse(text.to_owned().into()).unwrap_err().remove(0).hint
    }

    #[test]
    fn common_slips_get_their_hint() {
        for (text, expected) in [
            ("routes:\n\t- from: a\n", "indent by spaces"),
            ("routes:\n- from: a\n    to: b\n", "line 3 is indented deeper than line 2, which has"),
            ("routes:\n- from: a\n to: b\n", "line 3 is indented like no line above it"),
            ("address: a\n- from: b\n", "is the key of that list missing above it"),
            (
                "routes:\n- from: a\n  to: b\n    - allow:\n        or: [x]\n",
                "line 4 is indented deeper than line 3",
            ),
        ] {
            let hint = hint(text).unwrap_or_default();
            assert!(hint.contains(expected), "{text}: {hint}");
        }
    }

    #[test]
    fn other_texts_get_none() {
        for text in ["a: 'b\nc: d\n", "a: [\n", "%", "\"", "a: }\n"] {
            assert_eq!(hint(text), None, "{text}");
        }
    }
}
