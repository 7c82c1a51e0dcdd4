//! What the documents tell a reader to do works: their commands, their configuration, their links.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

#[test]
fn the_readmes_configurations_are_valid_with_their_files_only() {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("readme");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    // The names that mkcert gives of its own accord are those of the guides and of the README.
    for arguments in [&["*.localhost.pomerium.io"][..], &["-client", "pomerium@localhost"]] {
        let mut mkcert = Command::new("mkcert");
        succeed(mkcert.args(arguments).env("CAROOT", &directory).current_dir(&directory));
    }
    for name in ["client-secret", "shared-secret", "cookie-secret"] {
        let mut openssl = Command::new("openssl");
        openssl.args(["rand", "-base64", "-out", name, "32"]);
        succeed(openssl.current_dir(&directory));
    }
    let here = format!("{}/", directory.display());
    let config = directory.join("config.yaml");
    let check = || portcullis(["check".as_ref(), "--config".as_ref(), config.as_os_str()]);
    let needed = ["pomerium@localhost-client-key.pem", "cookie-secret"];
    let blocks = blocks(&document("README.md"), "yaml");
    assert_eq!(blocks.len(), needed.len());
    for (yaml, needed) in blocks.iter().zip(needed) {
        fs::write(&config, yaml.replace("/etc/portcullis/", &here)).unwrap();
        let valid = check();
        assert!(valid.status.success(), "{}", text(&valid));

        fs::remove_file(directory.join(needed)).unwrap();
        let broken = check();
        assert_eq!(broken.status.code(), Some(1), "{}", text(&broken));
        assert!(text(&broken).contains(needed), "{}", text(&broken));
    }
}

#[test]
fn every_command_in_the_documents_is_one_that_exists() {
    let mut commands = 0;
    // `docs_guides` runs the whole of these.
    let in_parts = documents().into_iter().filter(|(name, _)| name != "docs/private-ca.md");
    for (name, document) in in_parts {
        for command in blocks(&document, "sh").iter().flat_map(|block| commands_of(block)) {
            assert!(works(&command), "{name}: nothing here runs or proves: {command}");
            commands += 1;
        }
    }
    assert!(commands >= 10, "only {commands} commands were found");
}

#[test]
fn every_file_that_a_document_names_exists() {
    let mut links = 0;
    for (name, document) in documents() {
        let beside = root().join(&name).with_file_name("");
        let linked = links_of(&document).into_iter().map(|target| beside.join(target));
        let quoted = paths_of(&document).into_iter().map(|path| root().join(path));
        for path in linked.chain(quoted) {
            assert!(path.exists(), "{name} names {}, which does not exist", path.display());
            links += 1;
        }
    }
    assert!(links >= 15, "only {links} files were found");
}

/// Our own programs are asked whether they know the command. Cargo's are run by `cargo xtask test`
/// itself, in the form given here or for the whole workspace; tools of others are not ours to prove.
fn works(command: &str) -> bool {
    const RUN_BY_XTASK_TEST: [&str; 7] = [
        "cargo build --package portcullis",
        "cargo build --release --package portcullis",
        "cargo clippy --package portcullis --all-targets",
        "cargo test --package portcullis --lib route::",
        "cargo test --package portcullis --lib outliers_leave",
        "cargo test --package portcullis-tests",
        "cargo test --package portcullis-tests --test reload_memory -- --nocapture",
    ];
    const OTHERS: [&str; 10] = [
        "apt",
        "curl",
        "journalctl",
        "openssl",
        "perf",
        "promtool",
        "python3",
        "strace",
        "systemctl",
        "systemd-analyze",
    ];
    // `--help` comes last, so what stands before it has to be known to be got over.
    if let Some(arguments) = command.strip_prefix("portcullis ") {
        let help = portcullis(arguments.split_whitespace().chain(["--help"]));
        return help.status.success() && text(&help).contains("Usage: portcullis");
    }
    if let Some(arguments) = command.strip_prefix("cargo xtask ") {
        let mut xtask = Command::new(env!("CARGO"));
        xtask.current_dir(root()).args(["run", "--quiet", "--package", "xtask", "--"]);
        let help = xtask.args(arguments.split_whitespace()).arg("--help").output();
        let help = help.expect("cargo runs");
        return help.status.success() && text(&help).contains("Usage: cargo xtask");
    }
    // The heavy tests are compiled with the others, and run by hand.
    let quiet = command.strip_suffix(" --nocapture").unwrap_or(command);
    if let Some(command) = quiet.strip_suffix(" -- --ignored") {
        let test = command.strip_prefix("cargo test --package portcullis-tests --test ");
        return test.is_some_and(|test| source_of(test).contains("#[ignore"));
    }
    let more = ["PORTCULLIS_TEST_RELOADS=1000 ", "PORTCULLIS_SIMULATIONS=100 "];
    let command = more.iter().find_map(|more| command.strip_prefix(more)).unwrap_or(command);
    let program = command.split_whitespace().next().unwrap_or_default();
    RUN_BY_XTASK_TEST.contains(&command) || OTHERS.contains(&program)
}

/// Every page for people, by its path from the root.
fn documents() -> Vec<(String, String)> {
    ["", "bench/", "docs/", "fuzz/"].into_iter().flat_map(documents_in).collect()
}

fn documents_in(directory: &str) -> impl Iterator<Item = (String, String)> {
    let entries = fs::read_dir(root().join(directory)).expect("a directory of the source tree");
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names = names.filter(|name| name.ends_with(".md"));
    names.map(move |name| format!("{directory}{name}")).map(|name| {
        let document = document(&name);
        (name, document)
    })
}

/// The source of a program of tests: a file, or all files of a directory.
fn source_of(test: &str) -> String {
    let directory = root().join("tests/tests").join(test);
    let Ok(entries) = fs::read_dir(directory) else {
        return document(&format!("tests/tests/{test}.rs"));
    };
    let files = entries.flatten().map(|entry| fs::read_to_string(entry.path()));
    files.collect::<Result<_, _>>().expect("files of Rust")
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("a page in UTF-8")
}

/// The fenced blocks of a language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let open = format!("```{language}\n");
    let blocks = document.split(&open).skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap_or_default().to_owned()).collect()
}

/// The commands of a block, without comments.
fn commands_of(block: &str) -> Vec<String> {
    let lines = block.lines().map(|line| line.split(" #").next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// The files that links point to.
fn links_of(document: &str) -> Vec<String> {
    let targets = document.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://"));
    files.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

/// The files of the source tree that stand in backticks.
fn paths_of(document: &str) -> Vec<String> {
    const TOP: [&str; 6] = ["proxy/", "xtask/", "tests/", "docs/", "packaging/", ".ci/"];
    let quoted = document.split('`').skip(1).step_by(2);
    let paths = quoted.filter(|quoted| TOP.iter().any(|top| quoted.starts_with(top)));
    paths.map(str::to_owned).collect()
}

fn portcullis(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let built = || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../debug/portcullis");
    let program = env::var_os("PORTCULLIS_BIN").map_or_else(built, PathBuf::from);
    Command::new(&program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", program.display()))
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", text(&output));
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace above this package")
}
