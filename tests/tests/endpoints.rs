//! Changes of a route's endpoints while it is in use.

use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, Sender, channel},
};

use portcullis_tests::{Backend, Load, Proxy, curl::Fetched, proxy::Config, wait::until};

/// One worker, so that the turns have an order.
fn config(endpoints: &[&Backend]) -> Config {
    let fields = "access_log_fields: [path, response-code, upstream-address]";
    routed(Proxy::config().own("workers", "1").global(fields), endpoints)
}

fn routed(config: Config, endpoints: &[&Backend]) -> Config {
    let urls: Vec<String> = endpoints.iter().map(|endpoint| endpoint.url()).collect();
    config.without_routes().forward("app", &format!("[{}]", urls.join(", ")), "")
}

/// Changes only the endpoints, and waits until they are in use.
fn change(proxy: &mut Proxy, endpoints: &[&Backend]) {
    let next = routed(proxy.current(), endpoints);
    apply(proxy, next);
}

fn apply(proxy: &mut Proxy, config: Config) {
    let generation = |proxy: &Proxy| proxy.metrics().sum("portcullis_config_generation", &[]);
    let before = generation(proxy);
    proxy.rewrite(config);
    until("the next generation", || generation(proxy) > before);
}

/// Upstreams that respond with their address, which is the Host of the request.
fn backends<const N: usize>() -> [Backend; N] {
    std::array::from_fn(|_| {
        Backend::plain(|conn| {
            while let Some(head) = conn.request() {
                conn.body(&head);
                conn.respond(200, head.header("host").expect("a Host"));
            }
        })
    })
}

fn get(proxy: &Proxy, path: &str) -> Fetched {
    proxy.curl("app", path).ok()
}

fn served_by(proxy: &Proxy) -> String {
    get(proxy, "/").text()
}

#[test]
fn turns_go_on_over_a_reload() {
    let [a, b] = backends();
    let mut proxy = config(&[&a, &b]).start();
    assert_eq!(served_by(&proxy), a.address().to_string());
    let other = proxy.current().forward("other", &a.url(), "");
    apply(&mut proxy, other);
    assert_eq!(served_by(&proxy), b.address().to_string());
    assert_eq!(served_by(&proxy), a.address().to_string());
}

#[test]
fn connections_to_endpoints_that_stay_are_kept() {
    let [a, b, c] = backends();
    let mut proxy = config(&[&a, &b]).start();
    let served = |proxy: &Proxy| -> Vec<String> { (0..4).map(|_| served_by(proxy)).collect() };
    assert!(served(&proxy).contains(&b.address().to_string()));
    change(&mut proxy, &[&b, &c]);
    let after = served(&proxy);
    assert!([&b, &c].iter().all(|one| after.contains(&one.address().to_string())), "{after:?}");
    assert_eq!([&a, &b, &c].map(Backend::connections), [1, 1, 1]);
    let names = |proxy: &Proxy| -> Vec<bool> {
        let connects = "portcullis_endpoint_connects_total";
        let count = |one: &Backend| {
            let endpoint = one.address().to_string();
            proxy.metrics().sum(connects, &[("endpoint", &endpoint)]) > 0.0
        };
        [&a, &b, &c].map(count).into()
    };
    assert_eq!(names(&proxy), [false, true, true], "an endpoint that is gone leaves the metrics");
}

#[test]
fn no_request_is_lost_while_endpoints_change() {
    let [a, b, c] = backends();
    let mut proxy = config(&[&a, &b]).start();
    let load = Load::start(&proxy, "app", 4);
    for round in 0..8 {
        load.wait_for(100);
        let next = [[&b, &c], [&c, &a], [&a, &b]][round % 3];
        change(&mut proxy, &next);
        for one in 0..4 {
            let path = format!("/{round}/{one}");
            let served = get(&proxy, &path).text();
            assert!(next.iter().any(|one| one.address().to_string() == served), "{served}");
            assert_eq!(proxy.wait_for_access(&path)["upstream-address"], served);
        }
    }
    load.finish();
    proxy.assert_no_panic();
}

/// An upstream that responds to its first request on a signal, and reports its arrival.
fn gated() -> (Backend, Receiver<()>, Sender<()>) {
    let (came, has_come) = channel();
    let (open, gate) = channel();
    let gate = Arc::new(Mutex::new(gate));
    let backend = Backend::plain(move |conn| {
        while let Some(head) = conn.request() {
            conn.body(&head);
            came.send(()).expect("the test waits");
            gate.lock().expect("no other connection").recv().expect("the test opens it");
            conn.respond(200, "gated");
        }
    });
    (backend, has_come, open)
}

#[test]
fn a_request_is_logged_with_the_endpoint_that_served_it() {
    let (gated, has_come, open) = gated();
    let [b, c] = backends();
    let mut proxy = config(&[&gated, &b]).start();
    let mut raw = proxy.raw("app");
    raw.send("GET /held HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n");
    has_come.recv().expect("the request comes");
    change(&mut proxy, &[&b, &c]);
    assert_ne!(served_by(&proxy), "gated");
    open.send(()).expect("the upstream waits");
    assert_eq!(raw.response().text(), "gated");
    let record = proxy.wait_for_access("/held");
    assert_eq!(record["upstream-address"], gated.address().to_string());
}
