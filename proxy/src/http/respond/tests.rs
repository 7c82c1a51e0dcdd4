use proptest::prelude::*;

use super::*;

const ID: HeaderValue = HeaderValue::from_static("id-1");

fn asked(method: &Method, headers: &[(&'static str, &'static str)]) -> Asked {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    Asked::new(method, Version::HTTP_11, &headers)
}

fn not_found(accept: &'static str) -> Response<Bytes> {
    failure(&Failure::NoRoute, &asked(&Method::GET, &[("accept", accept)]), &ID).response
}

fn body(response: &Response<Bytes>) -> &str {
    std::str::from_utf8(response.body()).unwrap()
}

#[test]
fn a_browser_gets_a_page_with_a_title() {
    let response = not_found("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    assert_eq!(response.status(), 404);
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    assert!(body(&response).contains("<title>404 not found</title>"));
    assert!(body(&response).contains("<code>id-1</code>"));
    assert_eq!(response.headers()["cache-control"], "no-cache, must-revalidate");
    assert_eq!(response.headers()["x-pomerium-intercepted-response"], "true");
}

#[test]
fn a_program_that_asks_for_json_gets_json() {
    let response = not_found("application/json, text/plain, */*");
    assert_eq!(response.headers()["content-type"], "application/json");
    let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(json["error"], "not found");
    assert_eq!(json["request_id"], "id-1");
}

#[test]
fn the_form_follows_the_most_specific_range_and_its_quality() {
    assert_eq!(preferred("text/plain"), Form::Plain);
    assert_eq!(preferred("*/*"), Form::Html);
    assert_eq!(preferred("text/*;q=0.5, application/json;q=0.6"), Form::Json);
    assert_eq!(preferred("text/html;q=0, text/*"), Form::Plain);
    assert_eq!(preferred("image/png"), Form::Html);
    assert_eq!(preferred("TEXT/PLAIN; charset=x; q=0.3, text/html;q=0.2"), Form::Plain);
    assert_eq!(preferred(""), Form::Html);
}

#[test]
fn a_grpc_client_gets_a_status_in_the_head_alone() {
    let asked = asked(&Method::POST, &[("content-type", "application/grpc+proto")]);
    let reply = failure(&Failure::ResponseTimeout, &asked, &ID);
    assert_eq!(reply.response.status(), 200);
    assert_eq!(reply.response.headers()["grpc-status"], "14");
    assert_eq!(reply.response.headers()["content-type"], "application/grpc");
    assert!(reply.response.body().is_empty());
    assert_eq!(reply.flags, "UT");
}

#[test]
fn kubectl_gets_a_status_of_kubernetes_whatever_it_accepts() {
    const KUBECTL: &str = "kubectl/v1.32.4 (linux/amd64) kubernetes/59526cd";
    for accept in ["application/json", "text/html", "application/vnd.kubernetes.protobuf"] {
        let asked = asked(&Method::GET, &[("user-agent", KUBECTL), ("accept", accept)]);
        let response = failure(&Failure::CertificateRequired, &asked, &ID).response;
        assert_eq!(response.status(), 495);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-cache, must-revalidate");
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized",
            "message": "a valid client certificate is required to access this page", "code": 495,
        });
        assert_eq!(json, expected);
    }
}

#[test]
fn every_failure_has_the_reason_that_kubernetes_has_for_its_status() {
    let asked = asked(&Method::GET, &[("user-agent", "x kubernetes/1")]);
    let reason = |what: &Failure| {
        let response = failure(what, &asked, &ID).response;
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["code"], response.status().as_u16());
        json["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&Failure::Rejected(Fault::MissingHost)), "BadRequest");
    assert_eq!(reason(&Failure::Denied), "Forbidden");
    assert_eq!(reason(&Failure::NoRoute), "NotFound");
    assert_eq!(reason(&Failure::Misconfigured("x")), "InternalError");
    assert_eq!(reason(&Failure::ResponseTimeout), "Timeout");
    assert_eq!(reason(&Failure::Misdirected), "");
}

#[test]
fn only_a_user_agent_with_the_slash_is_of_kubernetes() {
    for (agent, yes) in [("kubernetes/", true), ("kubernetes", false), ("Kubernetes/1", false)] {
        assert_eq!(is_kubernetes(&HeaderValue::from_static(agent)), yes, "{agent}");
    }
}

#[test]
fn the_answer_to_head_has_the_length_but_not_the_body() {
    let reply = failure(&Failure::NoRoute, &asked(&Method::HEAD, &[("accept", "text/plain")]), &ID);
    assert!(reply.response.body().is_empty());
    let length = reply.response.headers()["content-length"].to_str().unwrap();
    assert_ne!(length, "0");
}

#[test]
fn health_is_told_on_every_host_to_get_and_head_alone() {
    let asked = asked(&Method::GET, &[]);
    for path in ["/ping", "/healthz"] {
        let reply = builtin(&Method::GET, path, &asked).unwrap();
        assert_eq!((reply.response.status().as_u16(), body(&reply.response)), (200, "OK"));
    }
    let reply = builtin(&Method::POST, "/ping", &asked).unwrap();
    assert_eq!(reply.response.status(), 405);
    assert!(builtin(&Method::GET, "/pings", &asked).is_none());
}

#[test]
fn paths_of_sign_in_are_reserved_by_segment() {
    for path in ["/.pomerium", "/.pomerium/x", "/.well-known/pomerium/jwks.json"] {
        assert!(is_reserved(path), "{path}");
    }
    for path in ["/.pomeriumx", "/.well-known/acme-challenge/x", "/a/.pomerium"] {
        assert!(!is_reserved(path), "{path}");
    }
}

#[test]
fn robots_are_told_to_stay_out() {
    let reply = robots(&asked(&Method::GET, &[]));
    assert_eq!(reply.response.status(), 200);
    assert_eq!(body(&reply.response), "User-agent: *\nDisallow: /");
}

#[test]
fn a_malformed_head_ends_an_http1_connection_and_a_missing_route_does_not() {
    let asked = asked(&Method::GET, &[]);
    let bad = failure(&Failure::Rejected(Fault::MissingHost), &asked, &ID);
    assert_eq!(bad.response.headers()["connection"], "close");
    let missing = failure(&Failure::NoRoute, &asked, &ID);
    assert!(!missing.response.headers().contains_key("connection"));
}

#[test]
fn status_495_has_a_reason_phrase() {
    let status = StatusCode::from_u16(495).unwrap();
    let response = page(Form::Html, status, "a valid client certificate is required", &ID);
    let reason = response.extensions().get::<ReasonPhrase>().unwrap();
    assert_eq!(reason.as_bytes(), b"SSL Certificate Error");
}

#[test]
fn a_status_without_a_body_has_none() {
    let asked = asked(&Method::GET, &[]);
    let reply = direct(StatusCode::NO_CONTENT, &Bytes::from_static(b"x"), &asked);
    assert!(reply.response.body().is_empty());
    assert!(!reply.response.headers().contains_key("content-length"));
}

proptest! {
    #[test]
    fn no_accept_header_makes_it_panic(accept in "\\PC{0,40}|[a-z/*;=q0-9., ]{0,40}") {
        preferred(&accept);
    }

    #[test]
    fn json_stays_json_whatever_the_id(id in "[ -~]{0,20}") {
        let id = HeaderValue::from_str(&id).unwrap();
        let response = page(Form::Json, StatusCode::NOT_FOUND, "not \"found\"", &id);
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        prop_assert_eq!(json["request_id"].as_str().unwrap(), id.to_str().unwrap());
    }
}
