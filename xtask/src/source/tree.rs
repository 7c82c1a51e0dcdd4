//! The files of one crate, and which of them are only compiled for tests.

use std::{collections::HashSet, fs, io, path::Path};

use super::items::{Items, items};

/// A file that is part of the program: its path below the root of the crate and its definitions.
pub(super) struct SourceFile {
    pub(super) path: String,
    pub(super) items: Items,
}

/// Paths, with `/` between their parts, and texts of all Rust files below a directory, in order.
pub(super) fn read(root: &Path) -> io::Result<Vec<(String, String)>> {
    let mut texts = Vec::new();
    collect(root, "", &mut texts)?;
    texts.sort();
    Ok(texts)
}

fn collect(directory: &Path, prefix: &str, texts: &mut Vec<(String, String)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), texts)?;
        } else if path.ends_with(".rs") {
            texts.push((path, fs::read_to_string(entry.path())?));
        }
    }
    Ok(())
}

/// Reads the definitions of each file, without files that are only compiled for tests.
pub(super) fn parse(texts: &[(String, String)]) -> Vec<SourceFile> {
    let parsed = texts.iter().map(|(path, text)| (path, items(text)));
    let files: Vec<_> =
        parsed.map(|(path, items)| SourceFile { path: path.clone(), items }).collect();
    let tests: HashSet<_> = files.iter().flat_map(test_modules).collect();
    files.into_iter().filter(|file| !is_below_any(&file.path, &tests)).collect()
}

/// The modules of a file that are only compiled for tests, as paths without `.rs`.
fn test_modules(file: &SourceFile) -> Vec<String> {
    let directory = directory_of_children(&file.path);
    file.items.test_modules.iter().map(|name| format!("{directory}{name}")).collect()
}

/// The directory of child modules: beside `mod.rs`, `lib.rs` and `main.rs`, else below.
fn directory_of_children(path: &str) -> String {
    let (directory, name) =
        path.rsplit_once('/').map_or(("", path), |(before, name)| (before, name));
    let directory = if directory.is_empty() { String::new() } else { format!("{directory}/") };
    match name.trim_end_matches(".rs") {
        "mod" | "lib" | "main" => directory,
        module => format!("{directory}{module}/"),
    }
}

fn is_below_any(path: &str, modules: &HashSet<String>) -> bool {
    let module = path.trim_end_matches(".rs").trim_end_matches("/mod");
    let ends = module.match_indices('/').map(|(at, _)| at).chain([module.len()]);
    ends.map(|end| &module[..end]).any(|parent| modules.contains(parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[(&str, &str)]) -> Vec<String> {
        let texts: Vec<_> =
            texts.iter().map(|(path, text)| (path.to_string(), text.to_string())).collect();
        parse(&texts).into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn files_below_a_test_module_are_not_part_of_the_program() {
        let texts = [
            ("lib.rs", "mod room; #[cfg(test)] mod budget;"),
            ("budget.rs", ""),
            ("room/mod.rs", "#[cfg(test)] mod tests; mod file; mod tests_of_hosts;"),
            ("room/file.rs", "#[cfg(test)] mod tests;"),
            ("room/file/tests.rs", ""),
            ("room/tests/deep/mod.rs", ""),
            ("room/tests/mod.rs", "mod deep;"),
            ("room/tests_of_hosts.rs", ""),
        ];
        let kept = ["lib.rs", "room/mod.rs", "room/file.rs", "room/tests_of_hosts.rs"];
        assert_eq!(paths(&texts), kept);
    }

    #[test]
    fn the_sources_of_a_crate_are_read_with_their_paths() {
        let texts = read(&crate::command::root().join("xtask/src")).unwrap();
        assert!(texts.iter().any(|(path, _)| path == "main.rs"));
        assert!(texts.iter().any(|(path, text)| path == "source/tree.rs" && !text.is_empty()));
    }
}
