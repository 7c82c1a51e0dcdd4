//! No file of this room depends on itself by way of others: each can be read after those that it
//! imports.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The modules of this room by path (`["certificate", "leaf"]`), with the source of their files.
type Modules = BTreeMap<Vec<String>, String>;

#[test]
fn no_file_of_this_room_imports_itself_by_way_of_others() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http");
    let mut modules = Modules::new();
    collect(&room, &room, &mut modules);
    assert!(modules.len() > 30, "the files of the room: {:?}", modules.keys());
    assert_eq!(cycle(&modules), None);
}

#[test]
fn a_cycle_is_found_over_braces_and_paths() {
    let modules = |pairs: &[(&str, &str)]| -> Modules {
        let path = |module: &str| module.split("::").map(String::from).collect();
        pairs.iter().map(|(module, source)| (path(module), (*source).to_owned())).collect()
    };
    let circle = modules(&[
        ("a", "use super::{b::B, d::{self, D}};"),
        ("b", "fn f() -> super::c::C {}"),
        ("c", "use crate::{\n    http::{\n        a::A,\n    },\n};"),
        ("d", ""),
    ]);
    assert_eq!(cycle(&circle).map(|cycle| cycle.len()), Some(4), "a, b, c, a");
    let nested = modules(&[("a", "use self::b::B;"), ("a::b", "use super::A;")]);
    assert!(cycle(&nested).is_some());
    let line = modules(&[("a", "use super::b::B;"), ("b", "use super::d::D;"), ("d", "")]);
    assert_eq!(cycle(&line), None);
}

/// The code of every file, without its tests.
fn collect(room: &Path, folder: &Path, modules: &mut Modules) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect(room, &path, modules);
            continue;
        }
        let name = path.strip_prefix(room).unwrap().with_extension("");
        let mut module: Vec<String> =
            name.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        if module.last().is_some_and(|last| last == "mod") {
            module.pop();
        }
        let is_test = module
            .last()
            .is_some_and(|last| ["tests", "testing", "file_cycles"].contains(&&**last));
        // The room's own file only names the others.
        if !is_test && !module.is_empty() {
            let source = fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            modules.insert(module, code.to_owned());
        }
    }
}

/// The modules of a cycle, its first one again at the end.
fn cycle(modules: &Modules) -> Option<Vec<String>> {
    let mut done = BTreeSet::new();
    modules.keys().find_map(|start| visit(modules, start, &mut Vec::new(), &mut done))
}

fn visit(
    modules: &Modules,
    module: &[String],
    way: &mut Vec<Vec<String>>,
    done: &mut BTreeSet<Vec<String>>,
) -> Option<Vec<String>> {
    if let Some(place) = way.iter().position(|passed| passed == module) {
        way.push(module.to_vec());
        return Some(way[place..].iter().map(|module| module.join("::")).collect());
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.to_vec());
    for imported in imports(modules, module) {
        if let Some(cycle) = visit(modules, &imported, way, done) {
            return Some(cycle);
        }
    }
    way.pop();
    done.insert(module.to_vec());
    None
}

/// The other modules that a module's code names.
fn imports(modules: &Modules, module: &[String]) -> BTreeSet<Vec<String>> {
    let code: String = modules[module]
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let parent = &module[..module.len() - 1];
    let mut found = BTreeSet::new();
    for (prefix, base) in [("super::", parent), ("self::", module), ("crate::http::", &[][..])] {
        for (at, _) in code.match_indices(prefix) {
            // Of `super::super::` the outer match is enough to see the whole path.
            if !code[..at].ends_with("::") {
                paths(&code[at + prefix.len()..], base.to_vec(), &mut found);
            }
        }
    }
    for (at, _) in code.match_indices("crate::{") {
        let group = &code[at + "crate::{".len()..];
        for (at, _) in group[..closing(group)].match_indices("http::") {
            paths(&group[at + "http::".len()..], Vec::new(), &mut found);
        }
    }
    found.into_iter().filter_map(|path| deepest(modules, &path)).filter(|to| to != module).collect()
}

/// The paths that the text begins with, its braces expanded.
fn paths(text: &str, mut base: Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, character) in group[..closing(group)].char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    paths(&group[start..at], base.clone(), found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        return paths(&group[start..closing(group)], base, found);
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match name {
        "" | "self" => {}
        "super" => drop(base.pop()),
        name => base.push(name.to_owned()),
    }
    match rest.strip_prefix("::") {
        Some(rest) => paths(rest, base, found),
        None => drop(found.insert(base)),
    }
}

/// Where the brace closes that was opened before the text.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    for (at, character) in text.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth == 0 => return at,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

/// The module that a path leads into.
fn deepest(modules: &Modules, path: &[String]) -> Option<Vec<String>> {
    (1..=path.len()).rev().map(|length| path[..length].to_vec()).find(|it| modules.contains_key(it))
}
