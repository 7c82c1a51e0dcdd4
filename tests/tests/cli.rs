//! The command line.

use std::{net::TcpListener, path::Path, time::Instant};

use portcullis_tests::{
    Backend, Proxy, pki,
    process::{Finished, run},
    proxy::{Config, portcullis},
    tempdir::TempDir,
    tools::require_root,
};

fn said(finished: &Finished) -> String {
    format!("{}{}", finished.stdout, finished.stderr)
}

fn check(text: &str) -> Finished {
    let dir = TempDir::new("check");
    let path = dir.write("config.yaml", text);
    portcullis(&[], &["check", "--config"], Some(&path))
}

/// A configuration that is good, with these lines of text before it.
fn good(lines: &str) -> String {
    let pair = pki().server();
    format!(
        "{lines}\naddress: 127.0.0.1:4433\ncertificate_file: {}\ncertificate_key_file: {}\nroutes:\n  \
         - from: https://a.localhost.pomerium.io\n    to: http://127.0.0.1:1\n    \
         allow_public_unauthenticated_access: true\n",
        pair.cert.display(),
        pair.key.display()
    )
}

#[test]
fn version_and_help_are_told() {
    let version = portcullis(&[], &["--version"], None);
    assert_eq!(version.code, Some(0));
    assert!(version.stdout.starts_with("portcullis "), "{version:?}");
    let help = portcullis(&[], &["--help"], None);
    assert_eq!(help.code, Some(0));
    for command in ["run", "check", "status"] {
        assert!(help.stdout.contains(command), "{}", help.stdout);
    }
    let run = portcullis(&[], &["run", "--help"], None);
    assert!(run.stdout.contains("/etc/portcullis/config.yaml"), "{}", run.stdout);
}

#[test]
fn an_unknown_command_is_an_error_of_usage() {
    assert_eq!(portcullis(&[], &["rum"], None).code, Some(2));
}

#[test]
fn completions_are_made_for_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let done = portcullis(&[], &["completions", shell], None);
        assert_eq!(done.code, Some(0), "{shell}: {done:?}");
        assert!(done.stdout.contains("portcullis"), "{shell}");
    }
}

#[test]
fn a_good_configuration_passes() {
    let checked = check(&good(""));
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn check_finds_what_nobody_could_sign_in_with() {
    let checked = check(&good(
        "authenticate_service_url: http://authenticate.localhost.pomerium.io\n\
         idp_provider: azure\n\
         idp_provider_url: https://login.microsoftonline.com/common/v2.0\n\
         shared_secret: c2VjcmV0\n\
         cookie_secret: a\ncookie_secret_file: b\n\
         bearer_token_format: jwt\n\
         portcullis: {sign_in: {recheck: 0s}}",
    ));
    assert_eq!(checked.code, Some(1));
    let said = said(&checked);
    for finding in [
        "config.yaml:1: error: authenticate_service_url: bad authenticate_service_url: its scheme must be https (",
        "idp_client_id: is missing (",
        "config.yaml:4: error: shared_secret: invalid shared secret: it has 6 bytes, not 32 (",
        "config.yaml:5: error: cookie_secret: cannot set both cookie_secret and cookie_secret_file",
        "config.yaml:7: error: bearer_token_format: `jwt` needs the global identity_providers (",
        "config.yaml:8: error: portcullis.sign_in.recheck: must be at least one second (",
        "portcullis.sign_in.tenants: is required with this idp_provider_url",
    ] {
        assert!(said.contains(finding), "{finding}: {said}");
    }
    assert!(!said.contains("c2VjcmV0"), "{said}");
    let elsewhere = check(&good(
        "authenticate_service_url: https://authenticate.example.com\n\
         idp_provider: google\nidp_client_id: a",
    ));
    assert_eq!(elsewhere.code, Some(0), "{elsewhere:?}");
    let warned = format!("{}{}", elsewhere.stdout, elsewhere.stderr);
    let message = "config.yaml:1: warning: authenticate_service_url: no server certificate is for \
                   `authenticate.example.com`";
    assert!(warned.contains(message), "{warned}");
}

#[test]
fn check_binds_nothing() {
    // Everything that `run` would listen on is taken, each by a listener of its own.
    let taken: Vec<_> = (0..4).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let address = |i: usize| taken[i].local_addr().unwrap();
    let text = good(&format!(
        "http_redirect_addr: {}\nmetrics_address: {}\nportcullis: {{admin_address: \"{}\"}}",
        address(1),
        address(2),
        address(3)
    ));
    let checked = check(&text.replace("127.0.0.1:4433", &address(0).to_string()));
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn run_says_that_an_address_is_taken() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused =
        Proxy::config().addresses(&[&address]).forward("app", "http://127.0.0.1:1", "").refused();
    assert!(said(&refused).contains(&address), "{refused:?}");
}

#[test]
fn run_says_that_the_kernel_is_too_old() {
    // For programs that take a kernel 3 or later for a mistake, Linux pretends to be a 2.6.
    let refused = Proxy::config().started_by(&["setarch", "--uname-2.6"]).refused();
    let line = "Linux 6.1 or later is required, and this is Linux 2.6.";
    assert!(refused.stderr.contains(line), "{refused:?}");
}

#[test]
fn all_errors_are_reported_at_once_with_file_line_key_and_hint() {
    let checked = check(
        "address: nonsense\n\
         timeout_read: fast\n\
         certificate_file: /nowhere/cert.pem\n\
         certificate_key_file: /nowhere/key.pem\n\
         routes:\n\
         - from: https://a.test/path\n  to: http://b\n  allow_public_unauthenticated_access: true\n\
         - from: https://c.test\n  to: [\"http://d,0\"]\n  allow_public_unauthenticated_access: true\n\
         - from: https://e.test\n  allow_public_unauthenticated_access: true\n\
         - from: https://f.test\n  to: http://g\n  regex: '['\n  allow_public_unauthenticated_access: true\n",
    );
    assert_eq!(checked.code, Some(1));
    let said = said(&checked);
    for place in [
        "config.yaml:1",
        "config.yaml:2",
        "config.yaml:3",
        "config.yaml:6",
        "config.yaml:10",
        "config.yaml:16",
        "address",
        "timeout_read",
        "/nowhere/cert.pem",
        "routes[0].from",
        "routes[1].to",
        "routes[2]",
        "routes[3].regex",
    ] {
        assert!(said.contains(place), "{place} is missing:\n{said}");
    }
}

#[test]
fn unsupported_keys_are_refused_if_ignoring_them_is_unsafe() {
    let of_route = |line: &str| format!("{}    {line}\n", good(""));
    for (key, text) in [
        ("sub_policies", of_route("sub_policies: [{}]")),
        ("mcp", of_route("mcp: {server: {}}")),
        ("use_proxy_protocol", good("use_proxy_protocol: true")),
    ] {
        let checked = check(&text);
        assert_eq!(checked.code, Some(1), "{key}");
        let said = said(&checked);
        assert!(said.contains("not supported yet") && said.contains(key), "{key}: {said}");
    }
}

#[test]
fn unknown_keys_are_warned_of_and_duplicate_keys_are_errors() {
    let unknown = check(&good("adress: x"));
    assert_eq!(unknown.code, Some(0));
    assert!(said(&unknown).contains("adress"), "{unknown:?}");
    let twice = check(&good("timeout_read: 1s\ntimeout_read: 2s"));
    assert_eq!(twice.code, Some(1));
    assert!(said(&twice).contains("timeout_read"), "{twice:?}");
    let strict = check(&good("adress: x\nportcullis: {strict: true}"));
    assert_eq!(strict.code, Some(1));
}

#[test]
fn keys_are_known_in_any_case() {
    let checked = check(&good("Timeout_READ: fast"));
    assert_eq!(checked.code, Some(1));
    assert!(said(&checked).to_lowercase().contains("timeout_read"), "{checked:?}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let dir = TempDir::new("env");
    let path = dir.write("config.yaml", good(""));
    let with = |name: &str, value: &str| {
        portcullis(&[(name.into(), value.into())], &["check", "--config"], Some(&path))
    };
    assert_eq!(with("TIMEOUT_READ", "5s").code, Some(0));
    let wrong = with("TIMEOUT_READ", "fast");
    assert_eq!(wrong.code, Some(1));
    assert!(said(&wrong).contains("TIMEOUT_READ"), "{wrong:?}");
    let backend = Backend::text("from the environment");
    let routes = format!(
        "- from: https://env.localhost.pomerium.io\n  to: {}\n  \
         allow_public_unauthenticated_access: true\n",
        backend.url()
    );
    use base64::Engine;
    let encoded = base64::engine::general_purpose::STANDARD.encode(routes);
    let proxy = Proxy::config().env("ROUTES", &encoded).start();
    assert_eq!(proxy.curl("env", "/").ok().text(), "from the environment");
}

#[test]
fn bombs_and_towers_are_refused_quickly() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let aliases = vec![format!("*a{}", i - 1); 10].join(", ");
        bomb += &format!("a{i}: &a{i} [{aliases}]\n");
    }
    let tower = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
    let ladder = (0..5_000).map(|i| format!("{}a:\n", " ".repeat(i))).collect();
    for text in [bomb, tower, ladder] {
        let start = Instant::now();
        let checked = check(&text);
        assert_eq!(checked.code, Some(1), "{:?}", said(&checked).get(..500));
        assert!(start.elapsed().as_secs() < 20, "it took {:?}", start.elapsed());
    }
}

#[test]
fn a_missing_configuration_is_named() {
    for command in ["run", "check"] {
        let path = Path::new("/nowhere/at/all.yaml");
        let done = portcullis(&[], &[command, "--config"], Some(path));
        assert_ne!(done.code, Some(0), "{command}");
        assert!(said(&done).contains("/nowhere/at/all.yaml"), "{command}: {done:?}");
    }
}

#[test]
fn a_fifo_is_refused_with_its_key_by_check_and_by_run() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let dir = TempDir::new("fifo");
    let fifo = dir.path().join("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a FIFO");
    let text = good(&format!("certificate_authority_file: {}", fifo.display()));
    let path = dir.write("config.yaml", text);
    for command in ["check", "run"] {
        for path in [&path, &fifo] {
            let done = portcullis(&[], &[command, "--config"], Some(path));
            assert_eq!(done.code, Some(1), "{command}: {done:?}");
            assert!(said(&done).contains("is a FIFO, not a regular file"), "{command}: {done:?}");
        }
        let done = portcullis(&[], &[command, "--config"], Some(&path));
        assert!(said(&done).contains("certificate_authority_file"), "{command}: {done:?}");
    }
}

#[test]
fn a_pomerium_file_with_identity_settings_loads() {
    let backend = Backend::text("x");
    let proxy = Config::default()
        .global(
            "authenticate_service_url: https://authenticate.localhost.pomerium.io\n\
             idp_provider: google\nidp_client_id: a\nidp_client_secret: b\n\
             cookie_secret: WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg=\n\
             shared_secret: WwMtDXWaRDMBQCylle8OJ+w4kLIDIGd8W3cB4/zFFtg=\nservices: all",
        )
        .forward("app", &backend.url(), "description: a route")
        .start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "x");
}

/// Runs in a directory of the test, with these variables.
fn in_directory(dir: &Path, variables: &[(String, String)], arguments: &[&str]) -> Finished {
    let mut command = std::process::Command::new(portcullis_tests::proxy::binary());
    command.env_clear().envs(variables.iter().cloned());
    run(command.current_dir(dir).args(arguments), b"")
}

#[test]
fn the_file_is_named_as_people_type_it() {
    let dir = TempDir::new("spelling");
    dir.write("x.yaml", good("timeout_read: soon"));
    for arguments in [
        "check x.yaml",
        "check -c x.yaml",
        "check --config x.yaml",
        "check --config=x.yaml",
        "check -config x.yaml",
        "check -config=x.yaml",
        "-c x.yaml check",
        "--config x.yaml check",
        "validate x.yaml",
        "run x.yaml",
        "run -c x.yaml",
        "--config x.yaml run",
        "-config x.yaml",
        "--config x.yaml",
    ] {
        let words: Vec<&str> = arguments.split(' ').collect();
        let done = in_directory(dir.path(), &[], &words);
        assert_eq!(done.code, Some(1), "{arguments}: {done:?}");
        let line = "x.yaml:1: error: timeout_read: `soon` is not a duration";
        assert!(done.stderr.starts_with(line), "{arguments}: {done:?}");
    }
    let twice = in_directory(dir.path(), &[], &["check", "-c", "x.yaml", "x.yaml"]);
    assert_eq!(twice.code, Some(2), "{twice:?}");
}

#[test]
fn words_of_other_programs_get_a_tip() {
    for (typed, tip) in [
        ("-t", "tip: `portcullis check`"),
        ("-s reload", "tip: a changed file is loaded by itself"),
        ("stop", "tip: `systemctl stop portcullis`, or SIGTERM"),
        ("start", "tip: `portcullis run`"),
    ] {
        let done = portcullis(&[], &typed.split(' ').collect::<Vec<_>>(), None);
        assert_eq!(done.code, Some(2), "{typed}: {done:?}");
        assert!(done.stderr.contains(tip), "{typed}: {done:?}");
    }
    for version in ["version", "-version", "--version", "-V"] {
        let done = portcullis(&[], &[version], None);
        assert_eq!(done.code, Some(0), "{done:?}");
        assert!(done.stdout.starts_with("portcullis "), "{done:?}");
    }
}

#[test]
fn each_line_of_a_check_has_its_severity() {
    let checked = check(&good("foo: 1\ntimeout_read: soon"));
    let lines: Vec<&str> = checked.stderr.lines().collect();
    let parts = ["config.yaml:1: warning: foo: is", "config.yaml:2: error: timeout_read: "];
    for (line, part) in lines.iter().zip(parts) {
        assert!(line.contains(part), "{line}");
    }
    assert!(lines[2].ends_with("config.yaml: 1 error, 1 warning"), "{lines:?}");
    assert_eq!((lines.len(), checked.stdout.as_str()), (3, ""));
    let refused = Proxy::config().addresses(&["nowhere"]).refused();
    assert!(refused.stderr.contains("config.yaml:1: error: address: `nowhere` is"), "{refused:?}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = Proxy::config().addresses(&[&address]).refused();
    assert!(refused.stderr.contains("\nportcullis: error: address: cannot listen"), "{refused:?}");
}

#[test]
fn a_strict_check_fails_on_a_warning() {
    let dir = TempDir::new("strict");
    dir.write("warned.yaml", good("foo: 1"));
    dir.write("good.yaml", good(""));
    for (file, options, code) in [
        ("good.yaml", "", 0),
        ("good.yaml", "--strict", 0),
        ("warned.yaml", "", 0),
        ("warned.yaml", "--strict", 1),
        ("warned.yaml", "--strict --format json", 1),
        ("warned.yaml", "--format json", 0),
    ] {
        let line = format!("check {file} {options}");
        let done = in_directory(dir.path(), &[], &line.split_whitespace().collect::<Vec<_>>());
        assert_eq!(done.code, Some(code), "{line}: {done:?}");
    }
}

#[test]
fn a_check_as_json_has_one_object_for_each_finding() {
    let dir = TempDir::new("json");
    dir.write("x.yaml", good("foo: 1\ntimeout_read: 30"));
    let done = in_directory(dir.path(), &[], &["check", "--format", "json", "x.yaml"]);
    let found: Vec<serde_json::Value> =
        done.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let expected = serde_json::json!([
        {
            "severity": "warning", "file": "x.yaml", "line": 1, "key": "foo",
            "message": "is not a known key, and has no effect", "hint": null
        },
        {
            "severity": "error", "file": "x.yaml", "line": 2, "key": "timeout_read",
            "message": "`30` has no unit; write 30s, 5m or 1h30m", "hint": null
        }
    ]);
    assert_eq!(serde_json::Value::from(found), expected);
    assert_eq!(done.stderr, "");
}

#[test]
fn a_reload_warns_beside_its_errors() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    proxy.rewrite(proxy.current().global("foo: 1").global("timeout_read: soon"));
    let says = |part: &'static str| {
        move |line: &serde_json::Value| line["message"].as_str().is_some_and(|it| it.contains(part))
    };
    let error = proxy.wait_for_log("the error", says(": error: timeout_read: `soon` is not"));
    assert_eq!(error["level"], "error");
    let warning = proxy.wait_for_log("the warning", says(": warning: foo: is not a known key"));
    assert_eq!(warning["level"], "warn");
}

#[test]
fn a_reload_names_the_key_that_waits_for_the_next_start() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    proxy.rewrite(proxy.current().global("http_redirect_addr: 127.0.0.1:{redirect}"));
    let line = proxy.wait_for_log("the warning", |line| {
        line["message"] == "a changed key takes effect at the next start"
    });
    assert_eq!(line["key"], "http_redirect_addr");
    assert_eq!(proxy.count_log("a changed key takes effect at the next start"), 1);
}

#[test]
fn check_as_another_user_finds_what_that_user_cannot_read() {
    if !require_root("checking as another user needs root") {
        return;
    }
    // Where the other user can read, wherever the tests are.
    let dir = tempfile::tempdir().expect("a directory");
    let set_mode = |path: &Path, mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(path, mode).expect("another mode");
    };
    set_mode(dir.path(), 0o755);
    let pair = pki().server();
    for (name, from, mode) in [("c.pem", &pair.cert, 0o644), ("k.pem", &pair.key, 0o600)] {
        std::fs::copy(from, dir.path().join(name)).expect("a file of the PKI");
        set_mode(&dir.path().join(name), mode);
    }
    let yaml = "certificate_file: c.pem\ncertificate_key_file: k.pem\nroutes: []\n";
    std::fs::write(dir.path().join("x.yaml"), yaml).expect("the configuration");
    assert_eq!(in_directory(dir.path(), &[], &["check", "x.yaml"]).code, Some(0));
    let done = in_directory(dir.path(), &[], &["check", "x.yaml", "--user", "nobody"]);
    assert_eq!(done.code, Some(1), "{done:?}");
    let hint = "cannot read k.pem: permission denied (this process runs as user nobody; the file \
                belongs to user root and group 0, with mode 0600)";
    assert!(done.stderr.contains(hint), "{done:?}");
    let done = in_directory(dir.path(), &[], &["check", "x.yaml", "--user", "no-such-user"]);
    assert_eq!(done.code, Some(1));
    assert!(done.stderr.contains("/etc/passwd has no user no-such-user"), "{done:?}");
}

#[test]
fn environment_variables_alone_are_a_configuration() {
    use base64::Engine;
    let (backend, pair) = (Backend::text("from variables"), pki().server());
    let routes = format!(
        "- from: https://env.localhost.pomerium.io\n  to: {}\n  \
         allow_public_unauthenticated_access: true\n",
        backend.url()
    );
    let port = portcullis_tests::ports::free_port();
    let variables = [
        ("ADDRESS", format!("127.0.0.1:{port}")),
        ("CERTIFICATE_FILE", pair.cert.display().to_string()),
        ("CERTIFICATE_KEY_FILE", pair.key.display().to_string()),
        ("ROUTES", base64::engine::general_purpose::STANDARD.encode(routes)),
        ("PORTCULLIS_ADMIN_ADDRESS", format!("127.0.0.1:{}", portcullis_tests::ports::free_port())),
    ];
    let mut command = std::process::Command::new(portcullis_tests::proxy::binary());
    command.env_clear().envs(variables).arg("run");
    let process = portcullis_tests::process::Process::spawn("portcullis", &mut command);
    process.wait_for_text("\"serving\"");
    let url = format!("https://env.localhost.pomerium.io:{port}/");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let fetched = portcullis_tests::Curl::new(address, &url).ok();
    assert_eq!(fetched.text(), "from variables");
    let dir = TempDir::new("empty");
    let none = in_directory(dir.path(), &[], &["run"]);
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.stderr.contains("no such file, and no environment variable of a key"), "{none:?}");
}
