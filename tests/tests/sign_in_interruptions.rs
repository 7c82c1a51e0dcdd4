//! A sign-in in the middle of which the proxy drains or its configuration changes, with a provider
//! that waits when told to, and curl as the browser.

use std::net::TcpStream;

use portcullis_tests::{
    Backend, BadProvider, CurlBrowser, Proxy,
    bad_provider::BadAnswer,
    proxy::Config,
    sign_in::{APP, AUTHENTICATE, CALLBACK, HANDOVER, OTHER, REQUEST, led_to},
    wait::until,
};
use rustix::process::Signal;

const ANYBODY: &str = "policy:\n- allow:\n    and:\n    - authenticated_user: true";
const SECRET: &str = "shared_secret: d2hhdCBhIHNlY3JldCBvZiAzMiBieXRlcyBpcyB0aGk=";

/// Without a shared secret: each process makes one of its own.
fn config(provider: &BadProvider, to: &str) -> Config {
    let issuer = provider.url();
    Proxy::config()
        .own("drain_timeout", "60s")
        .global(&format!("authenticate_service_url: {AUTHENTICATE}"))
        .global(&format!("idp_provider: oidc\nidp_provider_url: {issuer}\nidp_client_id: c"))
        .global("idp_client_secret: secret")
        .route_as_is(&format!("from: {APP}\nto: {to}\n{ANYBODY}"))
        .route_as_is(&format!("from: {OTHER}\nto: {to}\n{ANYBODY}"))
}

fn is_unready(proxy: &Proxy) -> bool {
    proxy.admin("/readyz").is_some_and(|response| response.status == 503)
}

#[test]
fn a_sign_in_under_way_is_finished_while_the_process_drains() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let config = config(&provider, &backend.url()).global(SECRET);
    let mut old = config.clone().start();
    let mut ann = CurlBrowser::at(old.address(), provider.address(), "ann");
    let url = format!("{APP}/drained?a=b");
    let callback = led_to(&mut ann, &url, CALLBACK);
    provider.answer("/token", BadAnswer::Wait);
    let (answered, mut ann, next) = std::thread::scope(|scope| {
        let under_way = scope.spawn(move || (ann.get(&callback), ann));
        until("the exchange", || !provider.seen("/token").is_empty());
        old.signal(Signal::TERM);
        until("the proxy to be unready", || is_unready(&old));
        until("new connections to be refused", || TcpStream::connect(old.address()).is_err());
        let next = old.start_beside(config);
        provider.repair("/token");
        let (answered, ann) = under_way.join().expect("an answer");
        (answered, ann, next)
    });
    let handover = answered.header("location").expect("the last step");
    assert!(handover.contains(HANDOVER), "{answered:?}");
    assert_eq!(old.wait().code(), Some(0));
    old.assert_no_panic();

    // The next process does not know what its predecessor has used up, and begins anew, unseen.
    assert_eq!((ann.open(handover).status, ann.url()), (200, &*url), "{:#?}", ann.visited());
    assert_eq!(ann.open(&format!("{OTHER}/")).status, 200);
    next.assert_no_panic();
}

#[test]
fn a_reload_before_each_step_disturbs_no_sign_in() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let mut proxy = config(&provider, &backend.url()).start();
    let mut ann = CurlBrowser::at(proxy.address(), provider.address(), "ann");
    let url = format!("{APP}/reloaded?a=b&c=%26");
    let mut reloads = 0;
    let mut reload = || {
        reloads += 1;
        let host = format!("new-{reloads}");
        let next = proxy.current().forward(&host, &backend.url(), "");
        proxy.rewrite(next.own("drain_timeout", &format!("{reloads}m")));
        until("the reload", || proxy.curl(&host, "/").ok().status == 200);
    };
    let request = led_to(&mut ann, &url, REQUEST);
    reload();
    let callback = led_to(&mut ann, &request, CALLBACK);
    reload();
    let handover = led_to(&mut ann, &callback, HANDOVER);
    reload();
    let last = ann.get(&handover);
    assert_eq!((last.status, last.header("location")), (302, Some(&*url)), "{last:?}");
    assert_eq!(ann.get(&url).status, 200);
    reload();
    assert_eq!(ann.get(&url).status, 200, "a session outlives a reload too");
    assert_eq!(provider.seen("/auth").len(), 1);
    proxy.assert_no_panic();
}

#[test]
fn a_policy_that_changes_in_the_middle_counts_at_the_end() {
    let (provider, backend) = (BadProvider::start(), Backend::echo());
    let mut proxy = config(&provider, &backend.url()).start();
    let mut ann = CurlBrowser::at(proxy.address(), provider.address(), "ann");
    let callback = led_to(&mut ann, &format!("{APP}/"), CALLBACK);
    let other = "policy:\n- allow:\n    and:\n    - user:\n        is: somebody-else";
    let next = proxy.current().without_routes();
    let next = next.route_as_is(&format!("from: {APP}\nto: {}\n{other}", backend.url()));
    proxy.rewrite(next.forward("new", &backend.url(), ""));
    until("the reload", || proxy.curl("new", "/").ok().status == 200);
    assert_eq!(ann.open(&callback).status, 403);
    assert_eq!(ann.get(&format!("{APP}/")).status, 403);
    // The other route is gone, and so is its host.
    assert_eq!(ann.get(&format!("{OTHER}/")).status, 404);
}
