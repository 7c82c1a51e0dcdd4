//! Variables, which win over the file.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::support::{config_of, errors_of, with_certificate};

const ROUTE: &str =
    "- {from: https://a.example, to: http://b, allow_public_unauthenticated_access: true}\n";

#[test]
fn a_variable_wins_over_the_file() {
    let yaml = with_certificate("address: 127.0.0.1:1\nportcullis: {workers: 3}");
    let variables = [("ADDRESS", "127.0.0.1:2,[::1]:2"), ("PORTCULLIS_WORKERS", "5")];
    let config = config_of(&yaml, &variables);
    let expected = ["127.0.0.1:2".parse().unwrap(), "[::1]:2".parse().unwrap()];
    assert_eq!(config.listen.addresses, expected);
    assert_eq!(config.workers.unwrap().get(), 5);
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let yaml = with_certificate("address: 127.0.0.1:1");
    let config = config_of(&yaml, &[("ADDRESS", "")]);
    assert_eq!(config.listen.addresses, ["127.0.0.1:1".parse().unwrap()]);
}

#[test]
fn an_empty_file_and_variables_are_a_configuration() {
    let variables =
        [("CERTIFICATE_FILE", "@server.pem"), ("CERTIFICATE_KEY_FILE", "@server-key.pem")];
    assert!(config_of("", &variables).tls.is_some());
}

#[test]
fn routes_come_as_base64_of_yaml() {
    let encoded = STANDARD.encode(ROUTE);
    for name in ["ROUTES", "POLICY"] {
        let config = config_of(&with_certificate(""), &[(name, &encoded)]);
        assert_eq!(&*config.routes[0].http.name, "a.example", "{name}");
    }
}

#[test]
fn a_mistake_in_a_variable_names_the_variable() {
    let yaml = with_certificate("timeout_read: 5s");
    let route = STANDARD.encode("- {from: https://a.example}");
    let bad_yaml = STANDARD.encode("- a: [\n");
    for (name, value, expected) in [
        (
            "TIMEOUT_READ",
            "30",
            "environment variable TIMEOUT_READ: timeout_read: `30` has no unit; write 30s, 5m or \
             1h30m",
        ),
        (
            "DOWNSTREAM_MTLS_CA",
            "!",
            "environment variable DOWNSTREAM_MTLS_CA: downstream_mtls.ca: illegal base64 data at \
             input byte 0 \
             (`base64 -w0 FILE`, or the path as `ca_file`)",
        ),
        (
            "ROUTES",
            &route,
            "environment variable ROUTES: routes[0].to: this route needs one of `to`, \
             `redirect`, `response` (write to: http://127.0.0.1:8080)",
        ),
        (
            "HEADERS",
            "nonsense",
            "environment variable HEADERS: set_response_headers: failed to decode headers from \
             'nonsense'",
        ),
        (
            "RUNTIME_FLAGS",
            "nonsense",
            "environment variable RUNTIME_FLAGS: runtime_flags: is not a JSON object of strings",
        ),
    ] {
        assert_eq!(errors_of(&yaml, &[(name, value)]), [expected]);
    }
    let errors = errors_of(&yaml, &[("ROUTES", &bad_yaml)]);
    assert!(errors[0].contains("in the decoded text, line 2:"), "{errors:?}");
}

#[test]
fn headers_come_as_json_or_as_pairs() {
    for value in [r#"{"X-A":"1","X-B":"2"}"#, "X-A:1, X-B: 2"] {
        let config = config_of(&with_certificate(""), &[("HEADERS", value)]);
        let headers: Vec<String> = config
            .http
            .response_headers
            .iter()
            .map(|(name, value)| format!("{name}={}", value.to_str().unwrap()))
            .collect();
        assert_eq!(headers, ["x-a=1", "x-b=2"]);
    }
}

#[test]
fn a_refused_key_is_refused_as_a_variable_too() {
    let errors = errors_of(&with_certificate(""), &[("USE_PROXY_PROTOCOL", "true")]);
    assert!(
        errors[0].starts_with(
            "environment variable USE_PROXY_PROTOCOL: use_proxy_protocol: is not supported yet"
        ),
        "{errors:?}"
    );
}

#[test]
fn a_variable_may_switch_a_refused_key_off() {
    let yaml = with_certificate("use_proxy_protocol: true");
    config_of(&yaml, &[("USE_PROXY_PROTOCOL", "false")]);
}
