//! Files that are valid and that nobody wants as they are.

use super::super::support::{Dir, errors, errors_of, warnings, warnings_in, with_certificate};

const ROUTE: &str = "routes:\n- from: https://a.localhost.pomerium.io\n  to: http://b\n  \
     allow_public_unauthenticated_access: true";

fn of_route(more: &str) -> Vec<String> {
    warnings(&format!("{ROUTE}\n  {more}"))
}

#[test]
fn a_certificate_that_has_ended_is_warned_of_once() {
    let yaml = format!(
        "{ROUTE}\ncertificates:\n- {{cert: '@ended.pem', key: '@ended-key.pem'}}\n- {{cert: \
         '@ended.pem', key: '@ended-key.pem'}}"
    );
    let expected = "config.yaml:6: certificates[0].cert: ended.pem: the certificate has ended: every \
         peer rejects it (renew it)";
    assert_eq!(warnings_in(&Dir::new(), &yaml), [expected]);
}

#[test]
fn a_host_that_no_certificate_is_for_is_warned_of_once() {
    let hosts = |hosts: &[&str]| {
        let route = |host: &&str| {
            format!(
                "- {{from: 'https://{host}', redirect: {{path_redirect: /}}, \
                     allow_public_unauthenticated_access: true}}\n"
            )
        };
        let routes: String = hosts.iter().map(route).collect();
        warnings_in(&Dir::new(), &with_certificate(&format!("routes:\n{routes}")))
    };
    let covered = ["x.localhost.pomerium.io", "*.elsewhere.example", "192.0.2.1", "[2001:db8::1]"];
    assert!(hosts(&covered).is_empty(), "{:?}", hosts(&covered));
    let told = "routes[0].from: no server certificate is for a.b.localhost.pomerium.io: browsers \
         reject the connection (a wildcard in a certificate stands for one label)";
    let deep = hosts(&["a.b.localhost.pomerium.io"]);
    assert_eq!(deep, [format!("config.yaml:2: {told}")]);
    let many: Vec<String> = (0..14).map(|n| format!("h{n}.example")).collect();
    let many = hosts(&many.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(many.len(), 11);
    assert!(many.iter().any(|it| it.ends_with("the hosts of 4 more routes")), "{many:?}");
}

#[test]
fn a_ca_file_with_a_key_or_an_end_or_a_leaf_is_warned_of() {
    let of_file = |dir: &Dir, file: &str| {
        let yaml = format!("{ROUTE}\ndownstream_mtls: {{ca_file: '@{file}'}}");
        warnings_in(dir, &with_certificate(&yaml))
    };
    let dir = Dir::new();
    assert!(of_file(&dir, "ca.pem").is_empty());
    let read = |name: &str| std::fs::read_to_string(dir.file(name)).unwrap();
    dir.write("both.pem", read("ca.pem") + &read("other-key.pem"));
    for (file, expected) in [
        ("both.pem", "both.pem: there is a private key in it"),
        ("ended-ca.pem", "has ended: the certificates of its clients are refused"),
        ("client.pem", "is no CA: it is trusted as itself, and issues nothing"),
    ] {
        let warnings = of_file(&dir, file);
        let at = "config.yaml:5: downstream_mtls.ca_file: ";
        let told = warnings.iter().filter(|it| it.starts_with(at) && it.contains(expected));
        assert_eq!(told.count(), 1, "{file}: {warnings:?}");
    }
}

#[test]
fn a_route_behind_one_that_serves_its_requests_is_warned_of() {
    let second = |first: &str, second: &str| {
        let route = |more: &str| {
            format!(
                "- {{from: 'https://a.localhost.pomerium.io', redirect: {{path_redirect: /}}, \
                     allow_public_unauthenticated_access: true{more}}}\n"
            )
        };
        warnings(&format!("routes:\n{}{}", route(first), route(second)))
    };
    let expected = "config.yaml:3: routes[1].from: is never reached: routes[0] (line 2) comes first, \
         and serves its requests (put the route with the longer path first)";
    for (first, behind) in [
        ("", ", prefix: /api"),
        (", prefix: /", ", path: /x"),
        (", prefix: /api", ", prefix: /api/v1"),
        ("", ", regex: '/x.*'"),
    ] {
        assert_eq!(second(first, behind), [expected], "{first} {behind}");
        assert!(second(behind, first).is_empty(), "{behind} {first}");
    }
    assert!(second(", prefix: /api", ", path: /app").is_empty());
}

#[test]
fn a_public_route_with_a_policy_is_warned_of() {
    let warnings = of_route("policy: [{allow: {or: [{domain: {is: example.com}}]}}]");
    let denying = of_route("policy: [{deny: {or: [{source_ip: 192.0.2.0/24}]}}]");
    assert!(denying.is_empty(), "{denying:?}");
    let expected = "everybody may use this route, except those whom its policy denies";
    assert_eq!(warnings.iter().filter(|it| it.contains(expected)).count(), 1, "{warnings:?}");
}

#[test]
fn an_admin_address_that_others_reach_is_warned_of() {
    let of_address = |address: &str| warnings(&format!("{ROUTE}\nportcullis: {{{address}}}"));
    for address in ["admin_address: 127.0.0.1:1", "admin_address: '[::1]:1'", "admin_address: ''"] {
        assert!(of_address(address).is_empty(), "{address}");
    }
    for address in ["admin_address: ':9464'", "admin_address: 192.0.2.1:1"] {
        let told = of_address(address);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("config.yaml:5: portcullis.admin_address: other machines can"));
    }
}

#[test]
fn a_port_at_which_nothing_listens_is_warned_of() {
    let at = |port: u16, address: &str| {
        let route = ROUTE.replace("pomerium.io", &format!("pomerium.io:{port}"));
        warnings(&format!("{route}\naddress: '{address}'"))
    };
    assert!(at(8443, ":8443").is_empty());
    assert!(at(443, ":8443").is_empty(), "a firewall forwards it");
    let told = at(9443, ":8443");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("config.yaml:2: routes[0].from: nothing listens at port 9443"));
}

#[test]
fn an_unknown_key_about_certificates_or_access_is_an_error_wherever_it_stands() {
    for (key, place) in [
        ("downstream_client_ca_file: x", "downstream_client_ca_file"),
        ("tls_crl_file: x", "tls_crl_file"),
        ("require_client_cert: true", "require_client_cert"),
        ("ssl_verify_client: 'on'", "ssl_verify_client"),
        ("deny_everybody: true", "deny_everybody"),
        ("crl_file: x", "crl_file"),
        ("mtls: {}", "mtls"),
        ("client-ca: x", "client-ca"),
        ("allow_everybody: true", "allow_everybody"),
    ] {
        let expected = format!("config.yaml:1: {place}: is not a known key");
        let found = errors(&format!("{key}\n{ROUTE}"));
        assert!(found.iter().any(|error| error.starts_with(&expected)), "{found:?}");
        let of_route = errors(&format!("{ROUTE}\n  {key}"));
        let expected = format!("config.yaml:5: routes[0].{place}: is not a known key");
        assert!(of_route.iter().any(|error| error.starts_with(&expected)), "{of_route:?}");
    }
    let harmless = "scar: x\ntlsx: y\nx-tls: z\ndatabroker_storage_ca_file: x";
    let other = warnings(&format!("{ROUTE}\n{harmless}"));
    assert_eq!(other.len(), 4, "{other:?}");
}

#[test]
fn a_variable_that_is_nearly_one_of_a_key_is_an_error() {
    let with = |name: &str| errors_of(&with_certificate(ROUTE), &[(name, "x")]);
    for (name, near) in [
        ("SHARED_SECRT", "SHARED_SECRET"),
        ("DOWNSTREAM_MTLS_CA_FILES", "DOWNSTREAM_MTLS_CA_FILE"),
        ("DOWNSTREAM_MTLS_CA_FLIE", "DOWNSTREAM_MTLS_CA_FILE"),
        ("CERTIFICATE_FIEL", "CERTIFICATE_FILE"),
        ("CERTIFCATE_KEY_FIL", "CERTIFICATE_KEY_FILE"),
        ("ADRESS", "ADDRESS"),
        ("ROUTE", "ROUTES"),
        ("POLCIY", "POLICY"),
        ("HEADER", "HEADERS"),
        ("CLIENT_CA_FIL", "CLIENT_CA_FILE"),
    ] {
        let expected = format!(
            "environment variable {name}: stands for no key (`{near}`? unset it, if it is meant for \
             another program)"
        );
        assert_eq!(with(name), [expected]);
    }
    for name in [
        "CLIENT_URL",
        "LOGOUT_URL",
        "OIDC_CLIENT_ID",
        "APP_CLIENT_ID",
        "OTEL_BLRP_SCHEDULE_DELAY",
        "KUBERNETES_SERVICE_PORT",
    ] {
        assert!(Dir::new().load(&with_certificate(ROUTE), &[(name, "x")]).is_ok(), "{name}");
    }
    let loaded = Dir::new()
        .load(&with_certificate(ROUTE), &[("HOSTNAME", "x"), ("PWD", "/"), ("SHARED_SECRT", "")]);
    assert!(loaded.is_ok());
}

#[test]
fn swapped_files_are_told_from_wrong_ones() {
    let swapped = "certificate_file: '@server-key.pem'\ncertificate_key_file: '@server.pem'";
    let told = errors_of(swapped, &[]);
    assert!(
        told[0].ends_with("(the certificate and its key are swapped: exchange the two values)")
    );
    let wrong = "certificate_file: '@server-key.pem'\ncertificate_key_file: '@other-key.pem'";
    assert!(!errors_of(wrong, &[])[0].contains("swapped"));
}

#[test]
fn plain_http_in_from_is_warned_of_where_tls_is_served() {
    let route = ROUTE.replace("https://a", "http://a");
    let expected = "config.yaml:2: routes[0].from: the route is served over HTTPS, as every route \
         (write https; http_redirect_addr redirects from HTTP)";
    assert_eq!(warnings(&route), [expected]);
    let plain = Dir::new().load(&format!("insecure_server: true\n{route}"), &[]).unwrap();
    assert!(plain.warnings.is_empty(), "{:?}", plain.warnings);
}

#[test]
fn keys_of_a_route_that_are_not_indented_are_explained() {
    let told = errors("routes:\n- from: https://a.localhost.pomerium.io\nto: http://b");
    let expected = "config.yaml:2: routes[0].to: this route needs one of `to`, `redirect`, \
         `response` (`to` in line 3 belongs to no route: indent it like the route's `from`)";
    assert_eq!(told, [expected]);
    let told = errors(&format!("allow_public_unauthenticated_access: true\n{ROUTE}"));
    let expected = "config.yaml:1: allow_public_unauthenticated_access: is not a known key (it is a \
         key of routes: indent it like the route's `from`)";
    assert_eq!(told, [expected]);
}
