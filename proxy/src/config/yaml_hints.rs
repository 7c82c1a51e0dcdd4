//! What to do about a text that is not YAML, guessed from the lines around the place.

/// A hint for what a parser said about a line, counted from 1.
pub(super) fn hint(problem: &str, line: u32, text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let at = usize::try_from(line).ok()?.checked_sub(1)?;
    let (number, found) = nearest_content(&lines, at)?;
    if found.trim_start_matches(' ').starts_with('\t') || problem.contains("tab") {
        return Some("indent by spaces: YAML allows no tabs there".to_owned());
    }
    let (before, above) = lines.get(..number)?.iter().enumerate().rev().find(|(_, it)| has_content(it))?;
    if is_item(found) && indent(found) <= indent(above) && !is_item(above) {
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

/// The column of the first key of a line: behind the dashes of lists.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '-']).len()
}
