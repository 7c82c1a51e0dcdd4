use http::{HeaderName, Method};

use super::*;

const ID: HeaderValue = HeaderValue::from_static("id-1");

fn asked(method: &Method, headers: &[(&'static str, &'static str)]) -> ContentNegotiation {
    let headers = headers
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect();
    ContentNegotiation::new(method, Version::HTTP_11, &headers)
}

fn not_found(accept: &'static str) -> Response<Bytes> {
    failure(
        &RequestFailure::NoRoute,
        &asked(&Method::GET, &[("accept", accept)]),
        &ErrorContext::bare(&ID),
    )
    .response
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
    assert!(response.headers().contains_key("content-security-policy"));
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
fn a_grpc_client_gets_a_status_in_the_head_alone() {
    let asked = asked(&Method::POST, &[("content-type", "application/grpc+proto")]);
    let reply = failure(&RequestFailure::ResponseTimeout, &asked, &ErrorContext::bare(&ID));
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
        let response =
            failure(&RequestFailure::CertificateRequired, &asked, &ErrorContext::bare(&ID))
                .response;
        assert_eq!(response.status(), 495);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-cache, must-revalidate");
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        let expected = serde_json::json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized",
            "message": "a valid client certificate is required to access this page (request ID: id-1)",
            "code": 495,
        });
        assert_eq!(json, expected);
    }
}

#[test]
fn every_failure_has_kubernetes_reason_for_its_status() {
    let asked = asked(&Method::GET, &[("user-agent", "x kubernetes/1")]);
    let reason = |what: &RequestFailure| {
        let response = failure(what, &asked, &ErrorContext::bare(&ID)).response;
        let json: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(json["code"], response.status().as_u16());
        json["reason"].as_str().unwrap().to_owned()
    };
    assert_eq!(reason(&RequestFailure::Rejected(InvalidRequest::MissingHost)), "BadRequest");
    assert_eq!(reason(&RequestFailure::Denied), "Forbidden");
    assert_eq!(reason(&RequestFailure::NoRoute), "NotFound");
    assert_eq!(reason(&RequestFailure::Misconfigured("x")), "InternalError");
    assert_eq!(reason(&RequestFailure::ResponseTimeout), "Timeout");
    assert_eq!(reason(&RequestFailure::Misdirected), "");
}

#[test]
fn the_answer_to_head_has_the_length_but_not_the_body() {
    let reply = failure(
        &RequestFailure::NoRoute,
        &asked(&Method::HEAD, &[("accept", "text/plain")]),
        &ErrorContext::bare(&ID),
    );
    assert!(reply.response.body().is_empty());
    let length = reply.response.headers()["content-length"].to_str().unwrap();
    assert_ne!(length, "0");
}

#[test]
fn health_is_told_to_get_and_head_only() {
    let asked = asked(&Method::GET, &[]);
    let reply = health(&Method::GET, &asked);
    assert_eq!((reply.response.status().as_u16(), body(&reply.response)), (200, "OK"));
    let reply = health(&Method::POST, &asked);
    assert_eq!((reply.response.status(), &reply.response.headers()["allow"]).0, 405);
}

#[test]
fn robots_are_told_to_stay_out() {
    let reply = robots(&asked(&Method::GET, &[]));
    assert_eq!(reply.response.status(), 200);
    assert_eq!(body(&reply.response), "User-agent: *\nDisallow: /");
}

#[test]
fn only_a_malformed_head_ends_an_http1_connection() {
    let asked = asked(&Method::GET, &[]);
    let bad = failure(
        &RequestFailure::Rejected(InvalidRequest::MissingHost),
        &asked,
        &ErrorContext::bare(&ID),
    );
    assert_eq!(bad.response.headers()["connection"], "close");
    let missing = failure(&RequestFailure::NoRoute, &asked, &ErrorContext::bare(&ID));
    assert!(!missing.response.headers().contains_key("connection"));
}

#[test]
fn a_status_without_a_body_has_none() {
    let asked = asked(&Method::GET, &[]);
    let reply = direct(StatusCode::NO_CONTENT, &Bytes::from_static(b"x"), &asked);
    assert!(reply.response.body().is_empty());
    assert!(!reply.response.headers().contains_key("content-length"));
}
