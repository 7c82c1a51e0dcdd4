//! The hosts of sign-in, of programs, and those that routes depend on.

use super::*;

#[test]
fn sign_in_needs_a_host_of_ours() {
    let of = |line: &str| format!("{line}\nidp_provider: google\nidp_client_id: c");
    let key = "authenticate_service_url";
    let hint = "(write https://authenticate.example.com)";
    for (line, expected) in [
        (
            "x: y",
            format!(
                "config.yaml: {key}: is missing, and is required with `idp_provider`: sign-in is \
             served here {hint}"
            ),
        ),
        (
            "authenticate_service_url: ''",
            format!(
                "config.yaml:1: {key}: is missing, and is required with `idp_provider`: sign-in is \
             served here {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://authenticate.pomerium.app",
            format!(
                "config.yaml:1: {key}: `authenticate.pomerium.app` is Pomerium's hosted service, \
             which serves only Pomerium; sign-in is served here (give it a name of yours)"
            ),
        ),
        (
            "authenticate_service_url: http://a.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: its scheme must be https {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://a.example/x",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: it must not have a path {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://a.example?x",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: a query or a fragment is not \
             allowed here {hint}"
            ),
        ),
        (
            "authenticate_service_url: https://*.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: it must name one host {hint}"
            ),
        ),
        (
            "authenticate_service_url: a.example",
            format!(
                "config.yaml:1: {key}: bad authenticate_service_url: `a.example` has no scheme {hint}"
            ),
        ),
    ] {
        assert_eq!(errors(&of(line)), [expected], "{line}");
    }
    assert_keys_refused(&[(
        "authenticate_callback_path: /callback",
        "config.yaml:5: authenticate_callback_path: only /oauth2/callback is supported (remove \
         the key)",
    )]);
}

#[test]
fn a_host_without_a_certificate_is_warned_of() {
    let at = |host: &str| {
        let yaml = signing_in(&format!("shared_secret: {SECRET}\nroutes: []"));
        warnings(&yaml.replace("authenticate.localhost.pomerium.io", host))
    };
    assert!(at("x.localhost.pomerium.io:8443").is_empty());
    for host in ["a.x.localhost.pomerium.io", "localhost.pomerium.io", "xlocalhost.pomerium.io"] {
        assert_eq!(
            at(host),
            [format!(
                "config.yaml:1: authenticate_service_url: no server certificate is for `{host}`: \
                 browsers will refuse it (add one to `certificates`)"
            )]
        );
    }
    let yaml = signing_in(&format!("shared_secret: {SECRET}\nroutes: []\ninsecure_server: true"));
    let dir = Dir::new();
    let loaded = dir.load(&yaml, &[]).unwrap();
    let shown: Vec<String> = loaded.warnings.iter().map(|it| dir.shown(it)).collect();
    assert_eq!(
        shown,
        [
            "config.yaml:1: authenticate_service_url: is served over plain HTTP (insecure_server): a \
          proxy in front must terminate TLS for it"
        ]
    );
}

#[test]
fn the_hosts_of_programs_are_hosts() {
    assert!(quiet("programmatic_redirect_domain_whitelist: []").is_empty());
    assert!(quiet("programmatic_redirect_domain_whitelist: localhost, tools.example").is_empty());
    let message = "is not a host (write localhost or tools.example.com)";
    let key = "programmatic_redirect_domain_whitelist";
    for bad in ["https://a.example", "a.example:8443", "*.example", "a/b"] {
        let keys = format!("{key}: [localhost, '{bad}']");
        let expected = format!("config.yaml:5: {key}[1]: `{bad}` {message}");
        assert_eq!(errors(&signing_in(&keys)), [expected], "{bad}");
    }
}

/// A route at line 6 that depends on these hosts, and one at `other.example`.
fn depending(hosts: &str) -> String {
    signing_in(&format!(
        "shared_secret: {SECRET}\nroutes:\n\
         - {{from: https://other.example, to: http://b, allowed_users: [a]}}\n\
         - {{from: https://*.wild.example, to: http://b, allowed_users: [a]}}\n\
         - from: https://a.example\n  to: http://b\n  allowed_users: [a]\n  depends_on: {hosts}"
    ))
}

#[test]
fn a_route_depends_on_hosts_that_have_a_route() {
    for good in [
        "[other.example]",
        "other.example",
        "[Other.Example., 'https://other.example:8443/x', b.wild.example]",
        "[]",
    ] {
        assert!(warnings(&depending(good)).is_empty(), "{good}");
    }
    let at = "config.yaml:12: routes[2].depends_on";
    for (hosts, expected) in [
        (
            "[other.example, gone.example]",
            format!("{at}[1]: no route is for `gone.example` (add a route, or remove the host)"),
        ),
        (
            "[other.example/x]",
            format!("{at}[0]: bad host: a host has no path (write other.example.com)"),
        ),
        (
            "['*.wild.example']",
            format!("{at}[0]: bad host: it must name one host (write other.example.com)"),
        ),
        (
            "['ftp://other.example']",
            format!("{at}[0]: bad host: its scheme must be https (write other.example.com)"),
        ),
        (
            "[a.wild.example, b.wild.example, c.wild.example, d.wild.example, e.wild.example, \
             f.wild.example]",
            format!("{at}: is limited to 5 hosts, and names 6"),
        ),
    ] {
        assert_eq!(errors(&depending(hosts)), [expected], "{hosts}");
    }
}

#[test]
fn a_mistake_in_a_route_is_not_told_of_its_host_as_well() {
    let broken = depending("[other.example]").replace(
        "to: http://b, allowed_users: [a]}\n- {from: https://*",
        "allowed_users: [a]}\n- {from: https://*",
    );
    let found = errors(&broken);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("routes[0].to"), "{found:?}");
}

#[test]
fn hosts_that_a_route_depends_on_in_vain_are_told() {
    let at = "routes[2].depends_on";
    let own = warnings(&depending("[a.example]"));
    assert_eq!(
        own,
        [format!("config.yaml:12: {at}[0]: has no effect: it is the route's own host")]
    );
    let public = depending("[other.example]").replace(
        "to: http://b\n  allowed_users: [a]",
        "to: http://b\n  allow_public_unauthenticated_access: true",
    );
    let message = "has no effect: nobody needs to sign in for this route";
    assert_eq!(warnings(&public), [format!("config.yaml:12: {at}: {message}")]);
    let nobody = super::super::route("to: http://b\ndepends_on: [a.example]");
    let message = "has no effect: nobody can sign in, because no identity provider is configured \
                   (set idp_provider)";
    assert!(warnings(&nobody).contains(&format!("config.yaml:5: routes[0].depends_on: {message}")));
}
