//! The commands that ask a running process: `status`, `health`, `drain`.

use portcullis_tests::{Backend, Proxy, pki, proxy::portcullis, tempdir::TempDir};

#[test]
fn status_shows_workers_routes_certificates_and_pools() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "name: shown").start();
    proxy.curl("app", "/").ok();
    let by_file = portcullis(&[], &["status", "--config"], Some(&proxy.config_path()));
    let address = proxy.admin_address().to_string();
    let by_address = portcullis(&[], &["status", "--address", &address], None);
    for done in [by_file, by_address] {
        assert_eq!(done.code, Some(0), "{done:?}");
        for word in ["WORKER", "shown", "*.localhost.pomerium.io", "UPSTREAM"] {
            assert!(done.stdout.contains(word), "{word}: {}", done.stdout);
        }
    }
    let json = portcullis(&[], &["status", "--json", "--address", &address], None);
    let status: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(status["routes"][0]["name"], "shown", "{status}");
}

#[test]
fn health_succeeds_while_a_process_is_ready_and_fails_without_one() {
    let backend = Backend::text("x");
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let address = proxy.admin_address().to_string();
    let health = || portcullis(&[], &["health", "--address", &address], None);
    let ready = health();
    assert_eq!((ready.code, ready.stdout.as_str()), (Some(0), "ready\n"), "{ready:?}");
    drop(proxy);
    let gone = health();
    assert_eq!(gone.code, Some(1), "{gone:?}");
    assert!(gone.stderr.contains("cannot connect"), "{gone:?}");
}

#[test]
fn status_and_drain_read_no_more_of_the_file_than_the_address() {
    let (backend, dir) = (Backend::text("x"), TempDir::new("runtime"));
    let config = Proxy::config()
        .env("RUNTIME_DIRECTORY", &dir.path().display().to_string())
        .forward("app", &backend.url(), "");
    let proxy = config.start();
    let (path, admin) = (proxy.config_path(), proxy.admin_address());
    let drain = |undo: &[&str]| {
        let args = [&["drain", "--worker", "1"][..], undo, &["--config"]].concat();
        portcullis(&[], &args, Some(&path))
    };
    for broken in [
        format!("nonsense: [\nportcullis:\n  admin_address: {admin}\n  workers: x"),
        format!("certificate_file: /nowhere\nportcullis: {{admin_address: '{admin}'}}"),
    ] {
        proxy.rewrite_text(&broken);
        let done = portcullis(&[], &["status", "--config"], Some(&path));
        assert_eq!(done.code, Some(0), "{broken}: {done:?}");
        assert!(done.stdout.contains("app.localhost.pomerium.io"), "{done:?}");
        for undo in [&[][..], &["--undo"]] {
            assert_eq!(drain(undo).code, Some(0), "{broken}");
        }
    }
    // Nobody can read the file: the process has left its address in its runtime directory.
    std::fs::remove_file(&path).unwrap();
    let env = [("RUNTIME_DIRECTORY".to_owned(), dir.path().display().to_string())];
    let done = portcullis(&env, &["status", "--config"], Some(&path));
    assert_eq!(done.code, Some(0), "{done:?}");
    drop(proxy);
}

#[test]
fn status_tells_of_refusals_and_which_routes_ask_for_certificates() {
    let backend = Backend::text("x");
    let own = pki().client();
    let identity = format!(
        "name: asks\ntls_client_cert_file: {}\ntls_client_key_file: {}",
        own.cert.display(),
        own.key.display()
    );
    let proxy = Proxy::config()
        .global(&format!("downstream_mtls: {{ca_file: {:?}}}", pki().ca()))
        .forward("app", &backend.url().replace("http:", "https:"), &identity)
        .start();
    for _ in 0..3 {
        assert_eq!(proxy.curl("app", "/").ok().status, 495);
    }
    let address = proxy.admin_address().to_string();
    let ask = |more: &[&str]| {
        let args = [&["status", "--address", &address][..], more].concat();
        let done = portcullis(&[], &args, None);
        assert_eq!(done.code, Some(0), "{done:?}");
        done.stdout
    };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let text = ask(&[]);
    let line = |start: &str| {
        let line = text.lines().find(|line| line.starts_with(start));
        words(line.unwrap_or_else(|| panic!("{start}: {text}")))
    };
    assert_eq!(line("asks")[2..], ["asked", "for", "3", "3", "0"]);
    assert_eq!(line("client_certificate_missing")[1..], ["495", "3"]);
    assert!(line("CN=")[1..].contains(&"client_ca".to_owned()), "{text}");
    let upstream = text.lines().find(|line| words(line).contains(&"upstream".to_owned()));
    assert!(upstream.is_some_and(|line| line.starts_with("email:")), "its name: {text}");
    let status: serde_json::Value = serde_json::from_str(&ask(&["--format", "json"])).unwrap();
    assert_eq!(status["refusals"][0]["count"], 3, "{status}");
    let labels = [("code", "495"), ("reason", "client_certificate_missing")];
    assert_eq!(proxy.metrics().sum("portcullis_refusals_total", &labels), 3.0);
}

#[test]
fn a_status_that_is_watched_ends_with_the_process() {
    use portcullis_tests::{process::Process, proxy::binary};
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let address = proxy.admin_address().to_string();
    let mut command = std::process::Command::new(binary());
    command.args(["status", "--watch=1", "--format=json", "--address", &address]);
    let mut watch = Process::spawn("status", &mut command);
    let state =
        |line: &str| Some(serde_json::from_str::<serde_json::Value>(line).ok()?["pid"].clone());
    let first = watch.wait_for("the first state", 0, state);
    watch.wait_for("the next state", 1, |line| state(line).filter(|pid| *pid == first));
    proxy.signal(rustix::process::Signal::TERM);
    proxy.wait();
    assert!(watch.wait().success());
    assert!(
        watch.lines().iter().any(|line| line.contains("nothing answers")),
        "{:?}",
        watch.lines()
    );
}

#[test]
fn status_of_a_proxy_that_does_not_run_is_an_error() {
    let dir = TempDir::new("status");
    let port = portcullis_tests::ports::free_port();
    let text = format!("portcullis: {{admin_address: 127.0.0.1:{port}}}");
    let path = dir.write("config.yaml", text);
    let done = portcullis(&[], &["status", "--config"], Some(&path));
    assert_ne!(done.code, Some(0), "{done:?}");
    assert!(done.stderr.contains(&port.to_string()), "{done:?}");
}
