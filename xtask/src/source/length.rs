//! The maximum length of a function.

use super::tree::SourceFile;

/// Lines from the one with `fn` to the one with the closing brace.
const MOST_LINES: usize = 60;

/// One line for each function that is too long.
pub(super) fn problems(files: &[SourceFile]) -> Vec<String> {
    let functions =
        files.iter().flat_map(|file| file.items.functions.iter().map(move |found| (file, found)));
    let long = functions.filter(|(_, function)| function.length > MOST_LINES);
    let described = long.map(|(file, function)| {
        let (path, line, name) = (&file.path, function.line, &function.name);
        format!("{path}:{line}: {name} has {} lines, more than {MOST_LINES}", function.length)
    });
    described.collect()
}

#[cfg(test)]
mod tests {
    use super::{super::tree::parse, *};

    fn problems_of(body_lines: usize) -> Vec<String> {
        let text = format!("\nfn f() {{\n{}}}\n", "    g();\n".repeat(body_lines));
        problems(&parse(&[("a.rs".to_owned(), text)]))
    }

    #[test]
    fn a_function_of_sixty_lines_is_short_enough() {
        assert!(problems_of(58).is_empty());
    }

    #[test]
    fn a_function_of_more_than_sixty_lines_is_a_problem() {
        assert_eq!(problems_of(59), ["a.rs:2: f has 61 lines, more than 60"]);
    }
}
