//! `portcullis.steering`.

use super::{
    super::support::{errors, warnings},
    assert_errors,
};
use crate::{
    config::tests::support::{Dir, with_certificate},
    steering::{ModeChoice, Pin, SteeringSpec},
};

/// Routes for a host and a wildcard, and pins in line 8.
fn pins(pins: &str) -> String {
    let mut yaml = String::from("routes:\n");
    for host in ["a.example", "'*.tenant.example'"] {
        let from = format!("https://{}", host.trim_matches('\''));
        yaml.push_str(&format!(
            "- from: '{from}'\n  response: {{status: 200}}\n  \
             allow_public_unauthenticated_access: true\n"
        ));
    }
    yaml.push_str(&format!("portcullis: {{workers: 4, steering: {{pin: {{{pins}}}}}}}"));
    yaml
}

fn steering(yaml: &str) -> SteeringSpec {
    Dir::new().load(&with_certificate(yaml), &[]).unwrap().config.steering
}

#[test]
fn what_a_pin_may_be_is_told_with_its_line() {
    let at = "config.yaml:8: portcullis.steering.pin";
    for (line, problem) in [
        ("b.example: [0]", ".b.example: no route has this host (pins are for the hosts of routes)"),
        (
            "'*.example.org': [0]",
            ".*.example.org: no route has this host (pins are for the hosts of routes)",
        ),
        (
            "'a*.tenant.example': [0]",
            ".a*.tenant.example: has characters before its last star (write *.example.com: only \
             the text after the last star counts)",
        ),
        (
            "10.0.0.1: [0]",
            ".10.0.0.1: is not a name that a client can send as SNI (write a host such as \
             app.example.com or *.example.com)",
        ),
        ("a.example: [4]", ".a.example: there is no worker 4: they are numbered from 0 to 3"),
        ("a.example: []", ".a.example: lists no worker"),
        ("a.example: [one]", ".a.example: contains a value that is not a worker number"),
        ("a.example: {x: 1}", ".a.example: contains a value that is not a worker number"),
    ] {
        assert_eq!(errors(&pins(line)), [format!("{at}{problem}")], "{line}");
    }
    assert_errors(&[
        (
            "portcullis: {steering: {pin: [a.example]}}",
            &["config.yaml:1: portcullis.steering.pin: is not a mapping (write a host and a list \
               of workers: app.example.com: [0, 1])"],
        ),
        (
            "portcullis: {steering: {unknown_sni: maybe}}",
            &["config.yaml:1: portcullis.steering.unknown_sni: `maybe` is not an allowed value \
                (one of accept, refuse)"],
        ),
    ]);
}

#[test]
fn pins_are_read_for_hosts_and_wildcards() {
    let spec = steering(&pins(
        "A.example: 1, own.tenant.example: [2, 3], '*.tenant.example': [0], '*.example': ['3']",
    ));
    let pin = |host: &str, workers: &[u32]| Pin { host: host.into(), workers: workers.to_vec() };
    assert_eq!(
        spec.pins,
        [
            pin("a.example", &[1]),
            pin("own.tenant.example", &[2, 3]),
            pin("*.tenant.example", &[0]),
            pin("*.example", &[3]),
        ]
    );
    assert_eq!(spec.hosts, ["a.example".into(), "*.tenant.example".into()]);
}

#[test]
fn more_workers_than_can_be_steered_to_are_reported() {
    let yaml = |mode: &str| {
        format!("portcullis:\n  workers: 129\n  steering: {{mode: {mode}}}\nroutes: []")
    };
    let at = "config.yaml:2: portcullis.workers: steering supports at most 128 workers";
    for mode in ["kernel", "handoff"] {
        let hint = "(reduce it to 128, or set steering.mode to auto or none)";
        assert_eq!(errors(&yaml(mode)), [format!("{at} {hint}")]);
    }
    let hint = "(reduce it to 128, or set steering.mode to none)";
    let warned = warnings(&yaml("auto"));
    assert_eq!(warned, [format!("{at}: no connection will be steered {hint}")]);
    assert_eq!(warnings(&yaml("none")), Vec::<String>::new());
    assert_eq!(warnings(&yaml("auto").replace("129", "128")), Vec::<String>::new());
}

#[test]
fn by_default_steering_is_automatic_and_refuses_nobody() {
    let spec = steering("");
    assert_eq!(spec, SteeringSpec::default());
    assert_eq!(spec.mode, ModeChoice::Auto);
}

#[test]
fn a_wildcard_for_every_name_is_reported_to_disable_refusing() {
    let yaml = |host: &str| {
        format!(
            "portcullis: {{steering: {{unknown_sni: refuse}}}}\nroutes:\n- from: 'https://{host}'\n  \
             response: {{status: 200}}\n  allow_public_unauthenticated_access: true"
        )
    };
    assert_eq!(warnings(&yaml("*.example")), Vec::<String>::new());
    assert_eq!(
        warnings(&yaml("app.*")),
        ["config.yaml:1: portcullis.steering.unknown_sni: has no effect: the host of route \
             `app.*` ends in a star, so it matches every name"]
    );
}
