//! Rewriting by expressions, at its limits.

use portcullis_tests::{Backend, Proxy};

const RULES: &str = "regex_rewrite_pattern: '^/v([0-9]+)/(.*)$'\n\
                     regex_rewrite_substitution: '/api/\\2?v=\\1'";

#[test]
fn a_substitution_with_a_query_joins_the_requests_query() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), RULES).start();
    for (target, expected) in [
        ("/v1/x", "/api/x?v=1"),
        ("/v1/x?y=2", "/api/x?v=1&y=2"),
        ("/v1/x?y=2?z", "/api/x?v=1&y=2?z"),
        ("/other?y=2", "/other?y=2"),
    ] {
        let got = proxy.curl("app", target).ok().echoed();
        assert_eq!(got.text("target"), expected, "{target}");
    }
}

#[test]
fn a_path_that_costs_too_much_to_rewrite_is_refused() {
    let backend = Backend::echo();
    let path = "regex_rewrite_pattern: 'x.*?y|x'\nregex_rewrite_substitution: z";
    let host = "host_path_regex_rewrite_pattern: 'x.*?y|x'\n\
                host_path_regex_rewrite_substitution: z";
    let proxy = Proxy::config()
        .forward("path", &backend.url(), path)
        .forward("host", &backend.url(), host)
        .start();
    for name in ["path", "host"] {
        for version in ["--http1.1", "--http2"] {
            let long = format!("/{}", "x".repeat(64_000));
            assert_eq!(proxy.curl(name, &long).args([version]).ok().status, 414, "{name}");
            let many = format!("/{}", "x".repeat(200));
            assert_eq!(proxy.curl(name, &many).args([version]).ok().status, 414, "{name}");
        }
    }
    let short = proxy.curl("path", "/xx").ok().echoed();
    assert_eq!(short.text("target"), "/zz");
}

#[test]
fn a_host_that_a_client_makes_must_be_a_host() {
    let backend = Backend::echo();
    let proxy =
        Proxy::config().forward("app", &backend.url(), "host_rewrite_header: X-Host").start();
    for (host, status) in
        [("internal_1.test:81", 200), ("a, b", 400), ("a/b", 400), ("u@a", 400), ("a:b", 400)]
    {
        let got = proxy.curl("app", "/").header(&format!("X-Host: {host}")).ok();
        assert_eq!(got.status, status, "{host}");
        if status == 200 {
            assert_eq!(got.echoed().all("host"), [host]);
        }
    }
}

#[test]
fn a_substitution_that_makes_no_path_is_refused_when_it_is_read() {
    let backend = Backend::echo();
    for substitution in ["/api#\\1", "/api \\1", "/äpi"] {
        let rules = format!(
            "regex_rewrite_pattern: '^/v([0-9]+)$'\nregex_rewrite_substitution: '{substitution}'"
        );
        let refused = Proxy::config().forward("app", &backend.url(), &rules).refused();
        let output = refused.stderr + &refused.stdout;
        assert!(output.contains("contains a character that a path cannot have"), "{output}");
    }
}

#[test]
fn check_warns_of_a_join_without_a_slash_or_with_two() {
    let backend = Backend::echo();
    let check = |to: &str, more: &str| {
        let done = Proxy::config().forward("app", to, more).check();
        done.stderr + &done.stdout
    };
    let (url, base) = (backend.url(), format!("{}/base", backend.url()));
    assert!(check(&base, "").contains("the path `/x` becomes `/basex`"));
    assert!(!check(&format!("{base}/"), "").contains("becomes"));
    let admin = |rewrite: &str| format!("prefix: /admin\nprefix_rewrite: {rewrite}");
    assert!(check(&url, &admin("/x/")).contains("the path `/admin/x` becomes `/x//x`"));
    assert!(!check(&url, &admin("/x")).contains("becomes"));
}
