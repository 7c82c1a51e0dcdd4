//! Reload: which settings change, which stay, and that clients notice nothing else.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use portcullis_tests::{
    Backend, Load, Pair, Proxy, Raw,
    nginx::Nginx,
    openssl::get,
    pki,
    raw::{TlsOptions, read_chain},
    tempdir::TempDir,
    wait::until,
    wire::End,
};
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::Signal,
};

const HOST: &str = "app.localhost.pomerium.io";

fn copy(from: &Path, to: &Path) {
    let new = to.with_extension("new");
    fs::copy(from, &new).expect("copy a file");
    fs::rename(new, to).expect("move a file");
}

/// A certificate and key of a test, which are replaced while the proxy runs.
fn own_pair(dir: &TempDir, from: &Pair) -> Pair {
    let pair = Pair { cert: dir.path().join("own.pem"), key: dir.path().join("own.key") };
    copy(&from.cert, &pair.cert);
    copy(&from.key, &pair.key);
    pair
}

/// Replaces a file with a FIFO that has no writer.
fn replace_by_fifo(path: &Path) {
    let fifo = path.with_extension("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("make a FIFO");
    fs::rename(fifo, path).expect("move a FIFO");
}

fn serves(proxy: &Proxy, pair: &Pair) -> bool {
    Some(&proxy.raw("app").server_certificate()) == read_chain(&pair.cert).first()
}

fn reloads(proxy: &Proxy, result: &str) -> f64 {
    proxy.metrics().sum("portcullis_config_reloads_total", &[("result", result)])
}

#[test]
fn a_changed_file_is_noticed_without_a_signal() {
    let (old, new) = (Backend::text("old"), Backend::text("new"));
    let mut proxy = Proxy::config().forward("app", &old.url(), "").start();
    assert_eq!(proxy.curl("app", "/").ok().text(), "old");
    let next = proxy.current().without_routes().forward("app", &new.url(), "");
    proxy.rewrite(next);
    until("the new route", || proxy.curl("app", "/").ok().text() == "new");
    assert_eq!(proxy.metrics().sum("portcullis_config_last_reload_success", &[]), 1.0);
}

#[test]
fn sighup_reloads_where_watching_is_turned_off() {
    let (old, new) = (Backend::text("old"), Backend::text("new"));
    let mut proxy = Proxy::config()
        .global("runtime_flags: {config_hot_reload: false}")
        .forward("app", &old.url(), "")
        .start();
    let next = proxy.current().without_routes().forward("app", &new.url(), "");
    proxy.rewrite(next);
    assert_eq!(proxy.curl("app", "/").ok().text(), "old");
    proxy.reload();
    until("the new route", || proxy.curl("app", "/").ok().text() == "new");
}

#[test]
fn a_write_in_place_or_a_replaced_link_is_noticed() {
    let (one, two, three) = (Backend::text("1"), Backend::text("2"), Backend::text("3"));
    let proxy = Proxy::config().forward("app", &one.url(), "").start();
    let text = fs::read_to_string(proxy.config_path()).unwrap();
    fs::write(proxy.config_path(), text.replace(&one.url(), &two.url())).unwrap();
    until("what was written in place", || proxy.curl("app", "/").ok().text() == "2");
    let target = proxy.dir().write("elsewhere.yaml", text.replace(&one.url(), &three.url()));
    let link = proxy.dir().path().join("link");
    std::os::unix::fs::symlink(target, &link).unwrap();
    fs::rename(link, proxy.config_path()).unwrap();
    until("what is behind the link", || proxy.curl("app", "/").ok().text() == "3");
}

#[test]
fn reloads_under_load_lose_no_request_and_no_connection() {
    let backend = Backend::text("x");
    let dir = TempDir::new("reload");
    let pair = own_pair(&dir, &pki().server());
    let mut proxy = Proxy::config()
        .certificates(std::slice::from_ref(&pair))
        .forward("app", &backend.url(), "")
        .start();
    let load = Load::start(&proxy, "app", 6);
    for round in 0..6 {
        load.wait_for(200);
        let host = format!("added{round}");
        proxy.rewrite(proxy.current().forward(&host, &backend.url(), ""));
        if round % 2 == 0 {
            proxy.reload();
        }
        if round == 3 {
            let fresh = pki().issue(&dir, "fresh", &["*.localhost.pomerium.io"]);
            copy(&fresh.key, &pair.key);
            copy(&fresh.cert, &pair.cert);
        }
        until("the added route", || proxy.curl(&host, "/").ok().status == 200);
    }
    load.wait_for(200);
    load.finish();
    proxy.assert_no_panic();
}

#[test]
fn a_connection_lives_through_a_reload_and_sees_the_new_routes() {
    let (old, new) = (Backend::text("old"), Backend::text("new"));
    let mut proxy = Proxy::config().forward("app", &old.url(), "").start();
    let mut raw = proxy.raw("app");
    let mut ask = || {
        raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
        raw.response().text()
    };
    assert_eq!(ask(), "old");
    let next = proxy.current().without_routes().forward("app", &new.url(), "");
    proxy.rewrite(next);
    until("the new route on the old connection", || ask() == "new");
}

#[test]
fn a_response_under_way_ends_as_it_began() {
    let go = Arc::new(AtomicBool::new(false));
    let gate = Arc::clone(&go);
    let old = Backend::plain(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nold ");
        until("the reload", || gate.load(SeqCst));
        conn.send("whole");
        conn.wait_for_end();
    });
    let new = Backend::text("new");
    let mut proxy = Proxy::config().forward("app", &old.url(), "timeout: 0s").start();
    let mut raw = proxy.raw("app");
    raw.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    raw.until("old ");
    let next = proxy.current().without_routes().forward("app", &new.url(), "");
    proxy.rewrite(next);
    // A request before the reload would reach the old upstream, which waits for this test.
    proxy.wait_for_metric("portcullis_config_generation", &[], |value| value == 2.0);
    assert_eq!(proxy.curl("app", "/").ok().text(), "new");
    go.store(true, SeqCst);
    assert_eq!(raw.exactly(5), b"whole");
}

#[test]
fn an_invalid_configuration_is_logged_counted_and_not_applied() {
    let backend = Backend::text("still here");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let good = fs::read_to_string(proxy.config_path()).unwrap();
    proxy.rewrite_text(&good.replace("to: ", "tto: "));
    proxy.wait_for_metric("portcullis_config_last_reload_success", &[], |value| value == 0.0);
    assert_eq!(reloads(&proxy, "refused"), 1.0);
    proxy.wait_for_log("why it was refused", |line| {
        line["level"] == "error" && line.to_string().contains("routes[0]")
    });
    assert_eq!(proxy.curl("app", "/").ok().text(), "still here");
    assert_eq!(proxy.admin("/readyz").map(|response| response.status), Some(200));
    assert_eq!(proxy.status()["config"]["last_reload"]["success"], false);
    proxy.rewrite_text("{not yaml");
    until("the second refusal", || reloads(&proxy, "refused") >= 2.0);
    let next = proxy.current().forward("more", &backend.url(), "");
    proxy.rewrite(next);
    until("the mended configuration", || proxy.curl("more", "/").ok().status == 200);
    assert_eq!(proxy.metrics().sum("portcullis_config_last_reload_success", &[]), 1.0);
}

#[test]
fn a_missing_configuration_keeps_the_old_one() {
    let backend = Backend::text("still here");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    fs::remove_file(proxy.config_path()).unwrap();
    proxy.reload();
    proxy.wait_for_metric("portcullis_config_last_reload_success", &[], |value| value == 0.0);
    assert_eq!(proxy.curl("app", "/").ok().text(), "still here");
    let next = proxy.current().forward("more", &backend.url(), "");
    proxy.rewrite(next);
    until("the file that is back", || proxy.curl("more", "/").ok().status == 200);
}

#[test]
fn a_rotated_server_certificate_is_served_to_new_connections() {
    let backend = Backend::text("x");
    let dir = TempDir::new("rotate");
    let pair = own_pair(&dir, &pki().server());
    let proxy = Proxy::config()
        .certificates(std::slice::from_ref(&pair))
        .forward("app", &backend.url(), "")
        .start();
    let mut kept = proxy.raw("app");
    let fresh = pki().issue(&dir, "fresh", &["*.localhost.pomerium.io"]);
    copy(&fresh.cert, &pair.cert);
    copy(&fresh.key, &pair.key);
    until("the new certificate", || serves(&proxy, &fresh));
    kept.send(format!("GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n"));
    assert_eq!(kept.response().status, 200);
}

#[test]
fn a_pair_caught_half_written_keeps_the_last_good_one() {
    let backend = Backend::text("x");
    let dir = TempDir::new("half");
    let pair = own_pair(&dir, &pki().server());
    let proxy = Proxy::config()
        .certificates(std::slice::from_ref(&pair))
        .forward("app", &backend.url(), "")
        .start();
    let fresh = pki().issue(&dir, "fresh", &["*.localhost.pomerium.io"]);
    copy(&fresh.cert, &pair.cert);
    proxy.wait_for_log("which files do not belong together", |line| {
        let text = line.to_string();
        text.contains("own.pem") && text.contains("own.key")
    });
    assert!(serves(&proxy, &pki().server()), "the last good pair is served");
    copy(&fresh.key, &pair.key);
    until("the new pair", || serves(&proxy, &fresh));
    fs::write(&pair.cert, "").unwrap();
    until("the empty file to be noticed", || {
        proxy.metrics().sum("portcullis_config_last_reload_success", &[]) == 0.0
    });
    assert!(serves(&proxy, &fresh));
}

#[test]
fn a_routes_rotated_client_certificate_reaches_the_upstream() {
    let nginx = Nginx::tls(&pki().upstream())
        .client_auth()
        .with("location / { return 200 $ssl_client_serial; }")
        .start();
    let dir = TempDir::new("upstream-identity");
    let pair = own_pair(&dir, &pki().proxy());
    let (cert, key) = (pair.cert.display(), pair.key.display());
    let proxy = Proxy::config()
        .forward_tls(
            "app",
            &nginx.url(),
            &format!("tls_client_cert_file: {cert}\ntls_client_key_file: {key}"),
        )
        .start();
    assert_eq!(proxy.curl("app", "/").ok().text(), pki().proxy().serial());
    copy(&pki().client().cert, &pair.cert);
    copy(&pki().client().key, &pair.key);
    let serial = pki().client().serial();
    until("the new identity", || proxy.curl("app", "/").ok().text() == serial);
}

#[test]
fn a_replaced_ca_of_a_route_decides_about_its_upstream() {
    let nginx = Nginx::tls(&pki().upstream()).with("location / { return 200 ok; }").start();
    let dir = TempDir::new("route-ca");
    let ca = dir.path().join("ca.pem");
    copy(&pki().other_ca(), &ca);
    let proxy = Proxy::config()
        .forward("app", &nginx.url(), &format!("tls_custom_ca_file: {}", ca.display()))
        .start();
    assert_eq!(proxy.curl("app", "/").ok().status, 503);
    copy(&pki().ca(), &ca);
    until("the upstream to be trusted", || proxy.curl("app", "/").ok().status == 200);
    copy(&pki().other_ca(), &ca);
    until("the upstream not to be trusted", || proxy.curl("app", "/").ok().status == 503);
}

#[test]
fn a_replaced_ca_of_clients_decides_about_new_connections() {
    let backend = Backend::text("inside");
    let dir = TempDir::new("client-ca");
    let ca = dir.path().join("ca.pem");
    copy(&pki().ca(), &ca);
    let proxy = Proxy::config().reject_connection(&ca).forward("app", &backend.url(), "").start();
    let end = |client: Pair| {
        let options = TlsOptions::name(HOST).client(client).tls12();
        match Raw::try_tls(proxy.address(), &options) {
            Err(end) => Some(end),
            Ok(mut raw) => {
                raw.send(get(HOST));
                (raw.response().status != 200).then_some(End::Clean)
            }
        }
    };
    let stranger = pki().pair("other/client");
    assert_eq!(end(pki().client()), None);
    assert_eq!(end(stranger.clone()), Some(End::Alert(48)));
    copy(&pki().other_ca(), &ca);
    until("the stranger to be known", || end(stranger.clone()).is_none());
    assert_eq!(end(pki().client()), Some(End::Alert(48)));
}

#[test]
fn many_reloads_leave_no_descriptor_thread_or_memory_behind() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward_tls("app", &backend.url(), "").start();
    let cycle = |proxy: &mut Proxy, round: usize| {
        let host = format!("r{round}");
        let next = proxy.current().without_routes().forward_tls(&host, &backend.url(), "");
        proxy.rewrite(next);
        until("the new route", || proxy.curl(&host, "/").ok().status == 200);
    };
    (0..5).for_each(|round| cycle(&mut proxy, round));
    let (descriptors, threads) = (proxy.descriptors(), proxy.threads());
    let before = proxy.resident_kib();
    (5..40).for_each(|round| cycle(&mut proxy, round));
    assert!(proxy.descriptors() <= descriptors + 8, "{descriptors} -> {}", proxy.descriptors());
    assert_eq!(proxy.threads(), threads);
    let grown = proxy.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "memory grew by {grown} KiB over 35 reloads");
}

#[test]
fn a_fifo_in_the_configuration_is_refused_and_holds_nothing_up() {
    let backend = Backend::text("still here");
    let dir = TempDir::new("fifo");
    for case in ["certificate", "CA", "configuration"] {
        let pair = own_pair(&dir, &pki().server());
        let ca = dir.path().join("ca.pem");
        copy(&pki().ca(), &ca);
        let mut proxy = Proxy::config()
            .certificates(std::slice::from_ref(&pair))
            .forward("app", &backend.url(), &format!("tls_custom_ca_file: {}", ca.display()))
            .start();
        let path = match case {
            "certificate" => pair.cert.clone(),
            "CA" => ca,
            _ => proxy.config_path(),
        };
        replace_by_fifo(&path);
        proxy.reload();
        proxy.wait_for_log("why it is refused", |line| {
            let text = line.to_string();
            text.contains(&path.display().to_string())
                && text.contains("is a FIFO, not a regular file")
        });
        for page in ["/healthz", "/readyz"] {
            assert_eq!(proxy.admin(page).map(|response| response.status), Some(200), "{case}");
        }
        assert_eq!(proxy.curl("app", "/").ok().text(), "still here", "{case}");
        assert_eq!(proxy.status()["config"]["generation"], 1, "{case}");
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.wait().code(), Some(0), "{case}");
    }
}

#[test]
fn the_log_the_metric_and_the_status_agree_on_the_generation() {
    let backend = Backend::text("x");
    let mut proxy = Proxy::config().forward("app", &backend.url(), "").start();
    let good = fs::read_to_string(proxy.config_path()).unwrap();
    proxy.rewrite_text(&good.replace("to: ", "tto: "));
    proxy.wait_for_metric("portcullis_config_last_reload_success", &[], |value| value == 0.0);
    // There is no such worker: the compilation of the configuration finds that, not its check.
    let pinned = proxy.current().own("steering", "{pin: {app.localhost.pomerium.io: [7]}}");
    proxy.rewrite(pinned);
    until("the second refusal", || reloads(&proxy, "refused") == 2.0);
    proxy.rewrite_text(&format!("{good}# changed\n"));
    let line = proxy.wait_for_log("the reload", |line| line["message"] == "configuration reloaded");
    assert_eq!(line["generation"], 2, "{line}");
    proxy.wait_for_metric("portcullis_config_generation", &[], |value| value == 2.0);
    assert_eq!(proxy.status()["config"]["generation"], 2);
}
