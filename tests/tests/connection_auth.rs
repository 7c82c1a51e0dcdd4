//! Upstreams that authenticate a connection rather than a request, as servers do with NTLM: what one
//! client may do there, no other client ever gets.

use portcullis_tests::{
    Backend, Http2, Proxy, Raw, backend::Conn, http::Response, pki, raw::TlsOptions, wait::until,
};

const HOST: &str = "app.localhost.pomerium.io";

/// Takes every request behind one with credentials for the same user's, and names that user.
fn authenticates(conn: &mut Conn) {
    let mut user = None;
    while let Some(head) = conn.request() {
        if let Some((_, name)) = head.header("authorization").and_then(|v| v.split_once(' ')) {
            user = Some(name.to_owned());
        }
        match &user {
            Some(name) => conn.respond(200, name),
            None => {
                let scheme = head.target.trim_start_matches('/');
                conn.send(format!(
                    "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {scheme}\r\n\
                     Content-Length: 0\r\n\r\n"
                ));
            }
        }
    }
}

fn get(raw: &mut Raw, scheme: &str, user: Option<&str>) -> Response {
    let credentials =
        user.map(|user| format!("Authorization: {scheme} {user}\r\n")).unwrap_or_default();
    raw.send(format!("GET /{scheme} HTTP/1.1\r\nHost: {HOST}\r\n{credentials}\r\n"));
    raw.response()
}

fn http2(proxy: &Proxy) -> Http2 {
    Http2::connect(proxy.address(), &TlsOptions::name(HOST))
}

#[test]
fn what_one_client_authenticated_serves_no_other() {
    for backend in [Backend::plain(authenticates), Backend::secure(authenticates)] {
        let proxy =
            Proxy::config().own("workers", "1").forward_tls("app", &backend.url(), "").start();
        for scheme in ["NTLM", "Negotiate", "Kerberos"] {
            let mut alice = proxy.raw("app");
            assert_eq!(get(&mut alice, scheme, None).status, 401);
            assert_eq!(get(&mut alice, scheme, Some("alice")).text(), "alice");
            assert_eq!(get(&mut proxy.raw("app"), scheme, None).status, 401, "{scheme}");
            assert_eq!(http2(&proxy).get(&format!("/{scheme}")), 401, "{scheme}");
            let mut bob = proxy.raw("app");
            assert_eq!(get(&mut bob, scheme, Some("bob")).text(), "bob");
            for (client, name) in [(&mut alice, "alice"), (&mut bob, "bob")] {
                assert_eq!(get(client, scheme, None).text(), name, "{scheme}: found again");
            }
        }
    }
}

#[test]
fn what_an_http2_client_authenticated_serves_no_other() {
    let backend = Backend::plain(authenticates);
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    let mut alice = http2(&proxy);
    let credentials = [("authorization", "NTLM alice")];
    assert_eq!(alice.get_with("/NTLM", &credentials), 200);
    assert_eq!(alice.get("/NTLM"), 200, "found again");
    assert_eq!(http2(&proxy).get("/NTLM"), 401);
    assert_eq!(get(&mut proxy.raw("app"), "NTLM", None).status, 401);
}

#[test]
fn a_clients_connections_end_with_it() {
    let backend = Backend::plain(authenticates);
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    let mut alice = proxy.raw("app");
    assert_eq!(get(&mut alice, "NTLM", Some("alice")).text(), "alice");
    assert_eq!(backend.open(), 1);
    drop(alice);
    until("the upstream's connection to close", || backend.open() == 0);
    let gauge = proxy.metrics().sum("portcullis_upstream_connections", &[]);
    assert_eq!(gauge, 0.0);
}

#[test]
fn other_schemes_share_connections_as_ever() {
    let backend = Backend::plain(authenticates);
    let proxy = Proxy::config().own("workers", "1").forward("app", &backend.url(), "").start();
    for _ in 0..3 {
        assert_eq!(get(&mut proxy.raw("app"), "Basic", Some("YTpi")).status, 200);
    }
    assert_eq!(backend.connections(), 1);
}

#[test]
fn an_http2_upstream_gets_such_requests_alone_on_a_connection() {
    let nginx = portcullis_tests::nginx::Nginx::tls(&pki().upstream())
        .http2()
        .with("location / { return 200 \"$server_protocol\"; }")
        .start();
    let proxy = Proxy::config().own("workers", "1").forward_tls("app", &nginx.url(), "").start();
    let mut alice = proxy.raw("app");
    assert_eq!(get(&mut alice, "x", None).text(), "HTTP/2.0");
    assert_eq!(get(&mut alice, "NTLM", Some("alice")).text(), "HTTP/1.1");
    assert_eq!(get(&mut alice, "NTLM", None).text(), "HTTP/1.1", "found again");
    let mut bob = proxy.raw("app");
    assert_eq!(get(&mut bob, "x", None).text(), "HTTP/2.0");
}
