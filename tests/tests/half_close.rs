//! Clients that have said that they send no more, and clients that have gone: the first get their
//! response, and for the second nothing goes on.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use portcullis_tests::{Backend, Proxy, Raw, raw::TlsOptions, wait::until, wire::End};

const HOST: &str = "app.localhost.pomerium.io";
const GET: &str = "GET / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\r\n";
const POST: &str = "POST / HTTP/1.1\r\nHost: app.localhost.pomerium.io\r\n\
                    Content-Length: 4\r\n\r\nbody";

fn options() -> [TlsOptions; 2] {
    let tls13 = TlsOptions::name(HOST).alpn("http/1.1");
    [tls13.clone(), tls13.tls12()]
}

fn connect(proxy: &Proxy, options: &TlsOptions) -> Raw {
    Raw::try_tls(proxy.address(), options).expect("a TLS connection")
}

#[test]
fn a_client_that_closes_its_sending_side_gets_its_response() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for options in options() {
        for request in [GET, POST, &format!("{GET}{GET}")] {
            let mut raw = connect(&proxy, &options);
            raw.send_last(request);
            let answer = raw.to_end();
            let expected = request.matches("HTTP/1.1").count();
            assert_eq!((answer.responses(), answer.end.clone()), (expected, End::Clean));
        }
    }
}

#[test]
fn the_response_may_take_its_time_and_come_in_pieces() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let backend = Backend::plain(move |conn| {
        conn.request();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf");
        let _ = released.lock().expect("not poisoned").recv();
        conn.send("half");
    });
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for options in options() {
        let mut raw = connect(&proxy, &options);
        raw.send_last(GET).until("half");
        release.send(()).expect("an upstream that waits");
        raw.until("half");
        assert_eq!(raw.to_end().end, End::Clean, "no request can follow");
    }
}

#[test]
fn a_request_that_was_not_sent_whole_is_not_served() {
    let backend = Backend::echo();
    let proxy = Proxy::config().forward("app", &backend.url(), "").start();
    for options in options() {
        let part = &POST[..POST.len() - 1];
        let ended = |bytes: &str| {
            let mut raw = connect(&proxy, &options);
            raw.send_last(bytes);
            raw.to_end()
        };
        let answer = ended(part);
        let status = (!answer.bytes.is_empty()).then(|| answer.response().status);
        assert!([None, Some(400)].contains(&status), "{answer:?}");
        assert_ne!(ended(&GET[..9]).end, End::Deadline);
    }
}

/// An upstream that never answers, and the numbers of requests that came and that were given up.
fn silent() -> (Backend, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let (asked, left) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (came, gone) = (Arc::clone(&asked), Arc::clone(&left));
    let backend = Backend::plain(move |conn| {
        if let Some(head) = conn.request() {
            conn.body(&head);
            came.fetch_add(1, SeqCst);
            conn.wait_for_end();
            gone.fetch_add(1, SeqCst);
        }
    });
    (backend, asked, left)
}

#[test]
fn a_client_that_has_gone_ends_its_request() {
    let (backend, asked, left) = silent();
    let proxy = Proxy::config().forward("app", &backend.url(), "timeout: 0s").start();
    let leave: [fn(Raw); 5] = [
        |mut raw| {
            raw.finish();
        },
        |mut raw| {
            raw.truncate();
        },
        Raw::reset,
        |mut raw| {
            raw.send_last("").truncate();
        },
        |mut raw| {
            raw.send_last("");
            raw.reset();
        },
    ];
    let mut count = 0;
    for leave in leave {
        for (request, options) in [GET, POST].into_iter().zip(options()) {
            let mut raw = connect(&proxy, &options);
            raw.send(request);
            count += 1;
            until("the upstream to be asked", || asked.load(SeqCst) == count);
            assert_eq!(left.load(SeqCst), count - 1);
            leave(raw);
            until("the upstream to be let go", || left.load(SeqCst) == count);
        }
    }
    proxy.assert_no_panic();
}

#[test]
fn a_client_without_tls_that_has_gone_ends_its_request() {
    let (backend, asked, left) = silent();
    let proxy = Proxy::config()
        .certificates(&[])
        .global("insecure_server: true")
        .forward("app", &backend.url(), "timeout: 0s")
        .start();
    let mut raw = Raw::tcp(proxy.address());
    raw.send(GET);
    until("the upstream to be asked", || asked.load(SeqCst) == 1);
    raw.finish();
    until("the upstream to be let go", || left.load(SeqCst) == 1);
}
