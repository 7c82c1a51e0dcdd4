//! Responses of the proxy in the form that Kubernetes' own client understands.

use portcullis_tests::{Backend, Pair, Proxy, kubectl, pki};
use serde_json::json;

/// The headers that kubectl 1.32 sends.
const USER_AGENT: &str = "User-Agent: kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd";
const ACCEPT: &str = "Accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const TEXT: &str = "a valid client certificate is required to access this page";

/// An API server that clients with a certificate may use, except for its secrets.
fn start(backend: &Backend) -> Proxy {
    let route = |rest: &str| format!("from: https://localhost\nto: {}\n{rest}", backend.url());
    let nobody = "prefix: /api/v1/secrets\npolicy: {allow: {and: [reject: true]}}";
    Proxy::config()
        .global(&format!("downstream_mtls: {{ca_file: {:?}}}", pki().ca()))
        .route_as_is(&route(nobody))
        .route(&route(""))
        .start()
}

#[test]
fn kubectl_says_what_is_wrong_in_our_words() {
    let backend = Backend::text("{}");
    let proxy = start(&backend);
    let get = |client: Pair, path: &str| kubectl::get_raw(proxy.address(), &client, path);
    let done = get(pki().client(), "/api");
    assert_eq!((done.code, done.stdout.as_str()), (Some(0), "{}"), "{done:?}");
    let done = get(pki().pair("other/client"), "/api");
    assert!(done.code != Some(0) && done.stderr.contains(TEXT), "{done:?}");
    let done = get(pki().client(), "/api/v1/secrets");
    assert!(done.code != Some(0) && done.stderr.contains("(Forbidden): forbidden"), "{done:?}");
}

#[test]
fn refusals_have_the_status_object_of_kubernetes() {
    let backend = Backend::text("{}");
    let proxy = start(&backend);
    for http in ["--http1.1", "--http2"] {
        let fetch = |host: &str, path: &str, client: bool| {
            let curl = proxy.curl("x", path).args([http]).header(&format!("Host: {host}"));
            let curl = curl.header(USER_AGENT).header(ACCEPT);
            let fetched = if client { curl.client(&pki().client()) } else { curl }.ok();
            assert_eq!(fetched.header("content-type"), Some("application/json"), "{fetched:?}");
            let mut status = fetched.json();
            // kubectl shows the message alone, so it has the ID.
            let id = format!(" (request ID: {})", fetched.header("x-request-id").expect("an ID"));
            let message = status["message"].as_str().and_then(|text| text.strip_suffix(&id));
            status["message"] = message.expect("a message with the ID").into();
            (fetched.status, status)
        };
        let status = |code: u16, reason: &str, message: &str| {
            let object = json!({
                "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
                "reason": reason, "message": message,
            });
            (code, object)
        };
        assert_eq!(fetch("localhost", "/api", false), status(495, "Unauthorized", TEXT), "{http}");
        let secrets = fetch("localhost", "/api/v1/secrets", true);
        assert_eq!(secrets, status(403, "Forbidden", "forbidden"), "{http}");
        let elsewhere = fetch("elsewhere.localhost.pomerium.io", "/api", true);
        assert_eq!(elsewhere, status(404, "NotFound", "not found"), "{http}");
    }
}
