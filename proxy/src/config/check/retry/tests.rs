use crate::{
    config::tests::support::{config, errors, warnings},
    http::ActionSpec,
    upstream::{RetryReasons, RetrySpec},
};

fn route(retry: &str) -> String {
    format!(
        "routes:\n- from: https://a.example\n  to: [http://b, http://c]\n  portcullis: {{retry: {retry}}}\n"
    )
}

fn read(retry: &str) -> Option<RetrySpec> {
    let config = config(&route(retry));
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!("not a proxy") };
    proxy.cluster.resilience.as_ref().map(|resilience| resilience.retry.clone())
}

#[test]
fn the_default_is_the_same_as_no_section() {
    assert_eq!(read("{}"), None);
    assert_eq!(read("{on: [connect]}"), None);
}

#[test]
fn reasons_attempts_and_budget_are_read() {
    let on = RetryReasons { connect: false, refused_stream: true, gateway: true };
    let expected = RetrySpec { attempts: 2, on, budget_percent: 50 };
    let read = read("{on: 'gateway, refused_stream', attempts: 2, budget_percent: 50}");
    assert_eq!(read, Some(expected));
}

#[test]
fn an_empty_list_sends_nothing_again() {
    let on = read("{on: []}").unwrap().on;
    assert_eq!(on, RetryReasons { connect: false, refused_stream: false, gateway: false });
}

#[test]
fn mistakes_are_told_with_their_place() {
    let at = "routes[0].portcullis.retry";
    for (retry, message) in [
        ("{on: [5xx]}", "on: `5xx` is not a reason to send a request again"),
        ("{attempts: 11}", "attempts: 11 is not from 0 to 10"),
        ("{budget_percent: 101}", "budget_percent: 101 is not from 0 to 100"),
    ] {
        let errors = errors(&route(retry));
        let expected = format!("{at}.{message}");
        assert!(errors.iter().any(|error| error.contains(&expected)), "{errors:?}");
    }
    let warnings = warnings(&route("{attempts: 3}"));
    let expected = format!("{at}.attempts: has no effect");
    assert!(warnings.iter().any(|warning| warning.contains(&expected)), "{warnings:?}");
}
