//! A snippet, and what the model says of it.

use std::{sync::Arc, time::Duration};

use super::support::{Dir, base64_of, config, config_of, with_certificate};
use crate::{
    config::RouteConfig,
    http::{
        ActionSpec, CertificateField, CertificateHeaders, EscapedSlashes, HostRewrite, PathRewrite,
        ProxySpec, RedirectPath, Rfc9440, TemplatePart, Underscores, XfccFields,
    },
    observe::{AccessField, Level, LogFormat},
    route::{HostMatch, PathMatch, PortMatch},
    tls::{ClientAuthMode, Codec, UpstreamTls},
    upstream::{BalancePolicy, DnsFamily, EndpointAddress, EndpointSpec, Protocol},
};

/// The only route, which is `https://a.example` with what is added.
fn route(keys: &str) -> RouteConfig {
    route_from("https://a.example", keys)
}

fn route_from(from: &str, keys: &str) -> RouteConfig {
    let mut yaml = format!("routes:\n- from: '{from}'");
    for line in keys.lines() {
        yaml.push_str("\n  ");
        yaml.push_str(line);
    }
    config(&yaml).routes.remove(0)
}

fn proxy(keys: &str) -> ProxySpec {
    match route(keys).http.action {
        ActionSpec::Proxy(proxy) => proxy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn absent_keys_have_pomeriums_defaults() {
    let config = config("");
    assert_eq!(config.listen.addresses, ["[::]:443".parse().unwrap()]);
    assert_eq!(config.listen.redirect_address, None);
    assert_eq!(config.http.read_timeout, Some(Duration::from_secs(30)));
    assert_eq!(config.http.stream_timeout, None);
    assert_eq!(config.http.upstream_timeout, Some(Duration::from_secs(30)));
    assert!(config.http.normalize_path && config.http.merge_slashes);
    assert_eq!(config.http.escaped_slashes, EscapedSlashes::Reject);
    assert_eq!(config.http.underscores, Underscores::Reject);
    assert!(!config.http.forwarded_for.skip_append);
    assert_eq!(config.http.forwarded_for.trusted_hops, 0);
    assert_eq!(config.dns.family, DnsFamily::V4Preferred);
    assert_eq!(config.connections.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(config.connections.max_header_bytes, 128 * 1024);
    assert_eq!(config.connections.h2_max_concurrent_streams, 100);
    assert_eq!(config.connections.h2_stream_window_bytes, 64 * 1024);
    assert_eq!(config.connections.h2_connection_window_bytes, 1024 * 1024);
    let tls = config.tls.unwrap();
    assert_eq!(tls.codec, Codec::Auto);
    assert!(matches!(tls.client_auth.mode, ClientAuthMode::Request { everywhere: false }));
    assert!(tls.client_auth.routes.is_empty());
    assert_eq!(config.http.certificate_identity, None);
    assert_eq!(config.log.level, Level::Info);
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.log.access);
    assert_eq!(config.log.access_fields.len(), 12);
    assert!(config.hot_reload);
    assert_eq!(config.workers, None);
    assert_eq!(config.admin.address, Some("127.0.0.1:9464".parse().unwrap()));
    assert!(config.admin.metrics.is_none());
}

#[test]
fn our_own_keys_have_their_defaults() {
    let connections = config("").connections;
    assert_eq!(connections.handshake_timeout, Duration::from_secs(10));
    assert_eq!(connections.header_timeout, Duration::from_secs(10));
    assert_eq!(connections.drain_timeout, Duration::from_secs(60));
    assert_eq!(connections.max_connections, 65_536);
    assert_eq!(connections.max_connections_per_worker, 65_536);
    assert_eq!(connections.max_headers, 100);
    let http = config("").http;
    assert_eq!((http.max_response_headers, http.passed_forwarding.len()), (100, 0));
    let connections = config("portcullis: {max_connections: 10}").connections;
    assert_eq!(connections.max_connections_per_worker, 10);
}

#[test]
fn forwarding_headers_are_passed_on_by_name() {
    let own = "max_response_headers: 200, pass_forwarding_headers: [X-Real-IP, x-forwarded-port]";
    let http = config(&format!("portcullis: {{{own}}}")).http;
    assert_eq!(http.max_response_headers, 200);
    assert_eq!(http.passed_forwarding, ["x-real-ip", "x-forwarded-port"]);
}

#[test]
fn limits_of_zero_are_no_limits() {
    let config = config(
        "timeout_read: 0s\ntimeout_write: 1m\ntimeout_idle: 0\ndefault_upstream_timeout: 0s\n\
         routes: [{from: https://a, to: http://b}]",
    );
    assert_eq!(config.http.read_timeout, None);
    assert_eq!(config.http.stream_timeout, Some(Duration::from_secs(60)));
    assert_eq!(config.connections.idle_timeout, None);
    assert_eq!(config.routes[0].http.timeout, None);
}

#[test]
fn values_convert_leniently() {
    let config = config(
        "skip_xff_append: 'true'\nxff_num_trusted_hops: '2'\nmerge_slashes: 0\n\
         access_log_fields: method, headers.X-Up\nportcullis: {admin_address: '', workers: '4'}",
    );
    assert!(config.http.forwarded_for.skip_append);
    assert_eq!(config.http.forwarded_for.trusted_hops, 2);
    assert!(!config.http.merge_slashes);
    let header = AccessField::Header("x-up".parse().unwrap());
    assert_eq!(config.log.access_fields, [AccessField::Method, header]);
    assert_eq!(config.admin.address, None);
    assert_eq!(config.workers.unwrap().get(), 4);
}

#[test]
fn every_field_that_the_access_log_knows_can_be_asked_for() {
    let config = config("access_log_fields: [route, worker, tls-version, upstream-address]");
    let asked = [
        AccessField::Route,
        AccessField::Worker,
        AccessField::TlsVersion,
        AccessField::UpstreamAddress,
    ];
    assert_eq!(config.log.access_fields, asked);
}

#[test]
fn key_names_and_choices_are_in_any_case() {
    let config = config(
        "Codec_Type: CODEC_TYPE_HTTP2\nLOG_LEVEL: Warning\nRoutes:\n- From: https://A.example\n  \
         TO: http://b\n  Load_Balancing_Policy: LOAD_BALANCING_POLICY_MAGLEV",
    );
    assert_eq!(config.tls.unwrap().codec, Codec::Http2);
    assert_eq!(config.log.level, Level::Warn);
    assert!(!config.log.access);
    let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!() };
    assert_eq!(proxy.cluster.balance, BalancePolicy::Maglev);
}

#[test]
fn choices_may_be_any_part_after_an_underscore() {
    for (text, codec) in
        [("http1", Codec::Http1), ("type_http2", Codec::Http2), ("AUTO", Codec::Auto)]
    {
        let config = config(&format!("codec_type: {text}"));
        assert_eq!(config.connections.codec, codec);
        assert_eq!(config.tls.unwrap().codec, codec);
    }
    let family = |text: &str| config(&format!("dns_lookup_family: {text}")).dns.family;
    assert_eq!(family("v6_only"), DnsFamily::V6Only);
    assert_eq!(family("preferred"), DnsFamily::V4Preferred);
}

#[test]
fn certificates_come_in_pomeriums_order() {
    let yaml = format!(
        "certificate: {}\ncertificate_key: {}\ncertificates: [{{cert: '@client.pem', key: '@client-key.pem'}}]",
        base64_of("server.pem"),
        base64_of("server-key.pem"),
    );
    let tls = config(&yaml).tls.unwrap();
    let origins: Vec<&str> = tls
        .certificates
        .iter()
        .map(|identity| identity.origin.rsplit('/').next().unwrap())
        .collect();
    assert_eq!(origins, ["certificate and certificate_key", "client-key.pem", "server-key.pem"]);
}

#[test]
fn hsts_is_only_for_those_who_serve_tls() {
    let has_hsts = |yaml: &str| {
        let headers = config_of(yaml, &[]).http.response_headers;
        headers.iter().any(|(name, _)| name == "strict-transport-security")
    };
    assert!(has_hsts(&with_certificate("")));
    assert!(!has_hsts("insecure_server: true"));
    assert!(!has_hsts(&with_certificate("set_response_headers: {X-Other: a}")));
}

#[test]
fn response_headers_replace_the_defaults_or_disable_them() {
    let headers = |yaml: &str| config(yaml).http.response_headers;
    assert_eq!(headers("").len(), 3);
    assert_eq!(headers("set_response_headers: {X-Other: a}")[0].0, "x-other");
    assert!(headers("set_response_headers: {disable: true}").is_empty());
    assert!(headers("set_response_headers: {disable: true, X-Other: a}").is_empty());
}

#[test]
fn plain_http_has_no_tls_and_its_own_port() {
    let config = config_of("insecure_server: true\naddress: 127.0.0.1", &[]);
    assert!(config.tls.is_none());
    assert_eq!(config.listen.addresses, ["127.0.0.1:80".parse().unwrap()]);
}

#[test]
fn the_redirect_address_loses_its_quotes() {
    let config = config("http_redirect_addr: '\":80\"'");
    assert_eq!(config.listen.redirect_address, Some("[::]:80".parse().unwrap()));
}

#[test]
fn sources_match_hosts_and_ports() {
    for (from, any_port, host, port) in [
        ("https://A.Example.", true, "a.example", PortMatch::Any),
        ("https://a.example", false, "a.example", PortMatch::Is(443)),
        ("https://a.example:443", true, "a.example", PortMatch::Is(443)),
        ("https://a.example:8443", false, "a.example", PortMatch::Is(8443)),
        ("https://[::0:1]/", true, "::1", PortMatch::Any),
    ] {
        let yaml = format!(
            "runtime_flags: {{match_any_incoming_port: {any_port}}}\n\
             routes: [{{from: '{from}', to: http://b}}]"
        );
        let matcher = config(&yaml).routes.remove(0).matcher;
        let HostMatch::Exact(matched) = matcher.host else { panic!("{from}") };
        assert_eq!((&*matched, matcher.port), (host, port), "{from}");
    }
}

#[test]
fn a_star_stands_for_any_characters_and_a_dot_for_itself() {
    let HostMatch::Wildcard(host) =
        route_from("https://*.Ex-1.example", "to: http://b").matcher.host
    else {
        panic!()
    };
    assert_eq!(&*host.pattern, "*.ex-1.example");
    for (name, matches) in [
        ("a.ex-1.example", true),
        ("a.b.ex-1.example", true),
        ("ex-1.example", false),
        ("a.ex-1xexample", false),
        ("a.ex-1.example.evil", false),
    ] {
        assert_eq!(host.regex.is_match(name), matches, "{name}");
    }
}

#[test]
fn the_most_particular_path_key_wins() {
    let path = |keys: &str| route(&format!("to: http://b\n{keys}")).matcher.path;
    assert!(matches!(path(""), PathMatch::Any));
    assert!(matches!(path("prefix: /a"), PathMatch::Prefix(prefix) if &*prefix == "/a"));
    assert!(matches!(path("path: /a\nprefix: /b"), PathMatch::Exact(path) if &*path == "/a"));
    assert!(matches!(path("path: /a\nregex: /b"), PathMatch::Regex(_)));
}

#[test]
fn expressions_match_the_whole_path() {
    let PathMatch::Regex(regex) = route("to: http://b\nregex: '/a|/b'").matcher.path else {
        panic!()
    };
    for (path, matches) in
        [("/a", true), ("/b", true), ("/ax", false), ("x/b", false), ("/a\n", false)]
    {
        assert_eq!(regex.is_match(path), matches, "{path:?}");
    }
}

#[test]
fn flags_in_an_expression_do_not_loosen_its_anchors() {
    let PathMatch::Regex(regex) = route("to: http://b\nregex: '(?m)/a$'").matcher.path else {
        panic!()
    };
    assert!(!regex.is_match("/a\n/b"));
}

#[test]
fn upstream_urls_become_endpoints() {
    let name = |name: &str, port| EndpointAddress::Name(name.into(), port);
    let ip = |text: &str| EndpointAddress::Ip(text.parse().unwrap());
    for (to, authority, address, tls, protocol) in [
        ("http://b", "b", name("b", 80), false, Protocol::Auto),
        ("http://b:80", "b", name("b", 80), false, Protocol::Auto),
        ("https://b", "b", name("b", 443), true, Protocol::Auto),
        ("https://b:80", "b:80", name("b", 80), true, Protocol::Auto),
        ("h2c://b:50051", "b:50051", name("b", 50051), false, Protocol::Http2PriorKnowledge),
        ("http://localhost:8000", "localhost:8000", ip("127.0.0.1:8000"), false, Protocol::Auto),
        ("https://[::1]:1", "[::1]:1", ip("[::1]:1"), true, Protocol::Auto),
        (
            "unix:///run/x.sock",
            "localhost",
            EndpointAddress::Unix("/run/x.sock".into()),
            false,
            Protocol::Auto,
        ),
    ] {
        let proxy = proxy(&format!("to: '{to}'"));
        let endpoint = &proxy.cluster.endpoints[0];
        assert_eq!(&*endpoint.authority, authority, "{to}");
        assert_eq!(endpoint.address, address, "{to}");
        assert_eq!(endpoint.tls.is_some(), tls, "{to}");
        assert_eq!(endpoint.protocol, protocol, "{to}");
        assert_eq!(endpoint.weight, 1);
        assert_eq!(proxy.cluster.connect_timeout, Duration::from_secs(10));
    }
}

#[test]
fn the_verified_name_follows_the_override() {
    for (keys, sni, verify_name) in [
        ("to: https://B.example:1", "b.example", "b.example"),
        ("to: https://b\ntls_server_name: c", "c", "c"),
        ("to: https://b\ntls_server_name: c\ntls_upstream_server_name: D", "d", "d"),
        ("to: https://10.0.0.1", "10.0.0.1", "10.0.0.1"),
        ("to: https://[::1]", "::1", "::1"),
        ("to: https://b\ntls_server_name: '*.example'", "b", "*.example"),
        ("to: https://b\ntls_server_name: '[fe80::1%eth0]'", "fe80::1", "fe80::1"),
        ("to: https+unix:///run/x\ntls_server_name: c", "c", "c"),
    ] {
        let proxy = proxy(keys);
        let tls = proxy.cluster.endpoints[0].tls.as_ref().unwrap();
        assert_eq!((&*tls.sni, &*tls.verify_name), (sni, verify_name), "{keys}");
        assert!(tls.offer_h2 && !tls.skip_verify);
    }
}

#[test]
fn a_custom_ca_replaces_the_roots_and_the_authority_joins_them() {
    let anchors = |keys: &str, global: &str| {
        let yaml = format!("{global}\nroutes:\n- {{from: https://a, to: https://b{keys}}}");
        let config = config_of(&with_certificate(&yaml), &[("SSL_CERT_FILE", "@server.pem")]);
        let ActionSpec::Proxy(proxy) = &config.routes[0].http.action else { panic!() };
        let tls = proxy.cluster.endpoints[0].tls.clone().unwrap();
        tls.anchors.certificates.len()
    };
    assert_eq!(anchors("", ""), 1);
    assert_eq!(anchors("", "certificate_authority_file: '@ca.pem'"), 2);
    let custom = ", tls_custom_ca_file: '@ca.pem'";
    assert_eq!(anchors(custom, "certificate_authority_file: '@client.pem'"), 1);
    assert_eq!(anchors(", tls_skip_verify: true", ""), 0);
}

#[test]
fn material_that_many_routes_name_is_shared() {
    let keys = "tls_client_cert_file: '@client.pem', tls_client_key_file: '@client-key.pem', \
                tls_custom_ca_file: '@ca.pem'";
    let yaml = format!(
        "routes:\n- {{from: https://a, to: https://x, {keys}}}\n- {{from: https://b, to: https://y, {keys}}}"
    );
    let config = config(&yaml);
    let tls: Vec<_> = config
        .routes
        .iter()
        .map(|route| match &route.http.action {
            ActionSpec::Proxy(proxy) => proxy.cluster.endpoints[0].tls.clone().unwrap(),
            _ => panic!(),
        })
        .collect();
    assert!(Arc::ptr_eq(&tls[0].anchors, &tls[1].anchors));
    let identities = tls.iter().map(|tls| tls.identity.clone().unwrap()).collect::<Vec<_>>();
    assert!(Arc::ptr_eq(&identities[0], &identities[1]));
}

#[test]
fn where_a_route_leads_does_not_depend_on_the_one_before() {
    let ways = [
        "to: http://b",
        "to: http://b/x",
        "to: https://b",
        "to: https://b\n  tls_server_name: c",
        "to: https://b\n  tls_custom_ca_file: '@client.pem'",
        "to: https://b\n  tls_client_cert_file: '@client.pem'\n  tls_client_key_file: '@client-key.pem'",
        "to: [http://b, http://c]",
        "to: [http://b, http://c]\n  lb_policy: MAGLEV",
    ];
    let led = |ways: &[&str]| {
        let routes =
            ways.iter().enumerate().map(|(n, way)| format!("- from: https://a{n}\n  {way}\n"));
        let config = config(&format!("routes:\n{}", routes.collect::<String>()));
        let ActionSpec::Proxy(proxy) = &config.routes.last().unwrap().http.action else { panic!() };
        let place = |endpoint: &Arc<EndpointSpec>| {
            let tls = endpoint.tls.as_ref().map(|tls| UpstreamTls::key(tls));
            (endpoint.address.clone(), endpoint.authority.clone(), tls)
        };
        let endpoints: Vec<_> = proxy.cluster.endpoints.iter().map(place).collect();
        (endpoints, proxy.cluster.balance, format!("{:?}", proxy.path))
    };
    for before in ways {
        for way in ways {
            assert_eq!(led(&[before, way]), led(&[way]), "{way} after {before}");
        }
    }
}

#[test]
fn routes_that_lead_to_the_same_place_share_it() {
    let config = config(
        "routes:\n- {from: https://a, to: http://b/x}\n- {from: https://c, policy: [], to: http://b/x}",
    );
    let clusters: Vec<_> =
        config.routes.iter().map(|route| route.http.action.cluster().unwrap()).collect();
    assert!(Arc::ptr_eq(clusters[0], clusters[1]));
}

#[test]
fn what_is_wrong_with_two_routes_is_said_of_both() {
    let routes = "- {from: https://a, to: https://x, tls_skip_verify: true}\n\
                  - {from: https://b, to: https://x, tls_skip_verify: true}";
    let loaded = Dir::new().load(&with_certificate(&format!("routes:\n{routes}")), &[]).unwrap();
    let skips = loaded.warnings.iter().filter(|one| one.key_path.ends_with("tls_skip_verify"));
    assert_eq!(skips.count(), 2);
}

#[test]
fn weights_and_balance_are_read() {
    let proxy = proxy("to: ['http://b,10', 'http://c,1']\nlb_policy: RING_HASH");
    let weights: Vec<u32> = proxy.cluster.endpoints.iter().map(|e| e.weight).collect();
    assert_eq!(weights, [10, 1]);
    assert_eq!(proxy.cluster.balance, BalancePolicy::RingHash);
}

#[test]
fn the_path_of_to_acts_as_a_prefix_where_nothing_else_is_said() {
    assert!(matches!(proxy("to: http://b").path, PathRewrite::Keep));
    assert!(matches!(proxy("to: http://b/x").path, PathRewrite::Prefix(p) if &*p == "/x"));
    assert!(
        matches!(proxy("to: http://b/x\nprefix_rewrite: /y").path, PathRewrite::Prefix(p) if &*p == "/y")
    );
    let keys =
        "to: http://b/x\nregex_rewrite_pattern: '^/a/(.*)$'\nregex_rewrite_substitution: /\\1";
    let PathRewrite::Regex(rewrite) = proxy(keys).path else { panic!() };
    assert_eq!(rewrite.pattern.replace_all("/a/b", &*rewrite.substitution), "/b");
}

#[test]
fn the_first_host_key_in_pomeriums_order_wins() {
    let host = |keys: &str| proxy(&format!("to: http://b\n{keys}")).host;
    let all = "preserve_host_header: true\nhost_path_regex_rewrite_pattern: '^/(.*)$'\n\
               host_path_regex_rewrite_substitution: \\1\nhost_rewrite_header: X-Host\nhost_rewrite: c:1";
    let keys: Vec<&str> = all.lines().collect();
    assert!(matches!(host(""), HostRewrite::Upstream));
    assert!(matches!(host(keys[0]), HostRewrite::Preserve));
    assert!(matches!(host(&keys[..3].join("\n")), HostRewrite::PathRegex(_)));
    assert!(matches!(host(&keys[..4].join("\n")), HostRewrite::Header(name) if name == "x-host"));
    assert!(matches!(host(all), HostRewrite::Literal(value) if value == "c:1"));
}

#[test]
fn upgrades_lift_the_timeouts_unless_they_are_written() {
    let http = |keys: &str| route(&format!("to: https://b\n{keys}")).http;
    let plain = http("");
    assert_eq!(plain.timeout, Some(Duration::from_secs(30)));
    assert_eq!(plain.idle_timeout, Some(Duration::from_secs(300)));
    assert!(plain.upgrades.is_empty());
    let upgrading =
        http("allow_websockets: true\nallow_spdy: true\nallow_upgrades: [WebSocket, Foo]");
    assert_eq!((upgrading.timeout, upgrading.idle_timeout), (None, None));
    assert_eq!(
        upgrading.upgrades,
        ["websocket".into(), "spdy/3.1".into(), "foo".into()] as [Box<str>; 3]
    );
    let ActionSpec::Proxy(proxy) = &upgrading.action else { panic!() };
    assert_eq!(proxy.cluster.endpoints[0].protocol, Protocol::Auto);
    let written = http("allow_websockets: true\ntimeout: 5s\nidle_timeout: 6s");
    assert_eq!(written.timeout, Some(Duration::from_secs(5)));
    assert_eq!(written.idle_timeout, Some(Duration::from_secs(6)));
}

#[test]
fn templates_are_taken_apart() {
    let literal = |text: &str| TemplatePart::Literal(text.into());
    for (text, expected) in [
        ("plain", vec![literal("plain")]),
        ("", vec![]),
        ("a$$b", vec![literal("a$b")]),
        ("$5 off", vec![literal("$5 off")]),
        ("$", vec![literal("$")]),
        ("${open", vec![literal("${open")]),
        (
            "$pomerium.client_cert_fingerprint.",
            vec![TemplatePart::ClientCert(CertificateField::Fingerprint), literal(".")],
        ),
        (
            "x${pomerium.client_cert_san_dns}y",
            vec![literal("x"), TemplatePart::ClientCert(CertificateField::SanDns), literal("y")],
        ),
        (
            "${pomerium.client_cert_san_email}",
            vec![TemplatePart::ClientCert(CertificateField::SanEmail)],
        ),
        (
            r#"${pomerium.request.headers["X-A"]}"#,
            vec![TemplatePart::RequestHeader("x-a".parse().unwrap())],
        ),
        (
            "$portcullis.client_cert_subject ",
            vec![TemplatePart::ClientCert(CertificateField::Subject), literal(" ")],
        ),
        ("$portcullis", vec![literal("$portcullis")]),
        ("$${pomerium.jwt}", vec![literal("${pomerium.jwt}")]),
        ("a${pomerium.jwt}b", vec![literal("a"), TemplatePart::IdentityJwt, literal("b")]),
        ("a${pomerium.id_token}b", vec![literal("ab")]),
    ] {
        let rules = route(&format!("to: http://b\nset_request_headers: {{X-T: '{text}'}}"))
            .http
            .request_headers;
        assert_eq!(rules.set[0].1.0, expected, "{text}");
    }
}

#[test]
fn a_route_says_for_itself_what_is_forwarded_of_a_certificate() {
    let of = |global: &str, own: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem'}}\nportcullis: {{{global}}}\nroutes:\n\
             - from: https://a.example\n  to: http://b\n  portcullis: {{{own}}}"
        );
        let ActionSpec::Proxy(proxy) = config(&yaml).routes.remove(0).http.action else { panic!() };
        proxy.client_certificate
    };
    let nothing = CertificateHeaders::default();
    let chain = CertificateHeaders { rfc9440: Rfc9440::Chain, ..nothing };
    let fields = XfccFields { hash: true, uri: true, ..XfccFields::default() };
    let xfcc = CertificateHeaders { xfcc: fields, ..nothing };
    let global = "forward_client_certificate: {rfc9440: chain}";
    assert_eq!(of("", ""), nothing);
    assert_eq!(of(global, ""), chain);
    assert_eq!(of(global, "forward_client_certificate: {}"), nothing);
    assert_eq!(of(global, "forward_client_certificate: {rfc9440: none}"), nothing);
    assert_eq!(of(global, "forward_client_certificate: {xfcc: [Hash, uri]}"), xfcc);
    let leaf = CertificateHeaders { rfc9440: Rfc9440::Leaf, ..xfcc };
    assert_eq!(of("", "forward_client_certificate: {rfc9440: leaf, xfcc: 'uri, hash'}"), leaf);
}

#[test]
fn only_forwarding_routes_depend_on_forwarded_certificates() {
    let looks = |action: &str| {
        let yaml = format!(
            "downstream_mtls: {{ca_file: '@ca.pem', enforcement: policy}}\n\
             portcullis: {{forward_client_certificate: {{rfc9440: leaf}}}}\nroutes:\n\
             - from: https://a.example\n  {action}\n  \
             allow_public_unauthenticated_access: true"
        );
        config(&yaml).routes.remove(0).http.looks_at_certificate(None)
    };
    assert!(looks("to: http://b"));
    assert!(!looks("redirect: {host_redirect: b.example}"));
}

#[test]
fn response_rules_are_read() {
    let rules = route(
        "to: http://b\nset_response_headers: {Disable: true, X-A: '1'}\n\
         rewrite_response_headers: [{header: Location, prefix: 'http://b/', value: 'https://a/'}]",
    )
    .http
    .response_headers;
    assert!(rules.disable);
    assert_eq!(rules.set[0].0, "x-a");
    assert_eq!(rules.rewrite[0].header, "location");
    assert_eq!(&*rules.rewrite[0].value, "https://a/");
}

#[test]
fn redirects_and_responses_are_read() {
    let ActionSpec::Redirect(redirect) = route(
        "redirect: {https_redirect: true, host_redirect: c.example, port_redirect: 8443, \
         prefix_rewrite: /x, response_code: 308, strip_query: true}",
    )
    .http
    .action
    else {
        panic!()
    };
    assert_eq!(redirect.scheme.as_deref(), Some("https"));
    assert_eq!(redirect.host.as_deref(), Some("c.example"));
    assert_eq!(redirect.port, Some(8443));
    assert!(matches!(redirect.path, RedirectPath::Prefix(prefix) if &*prefix == "/x"));
    assert_eq!((redirect.status.as_u16(), redirect.strip_query), (308, true));
    let ActionSpec::Redirect(redirect) = route("redirect: {https_redirect: true}").http.action
    else {
        panic!()
    };
    assert_eq!(redirect.status.as_u16(), 301);
    let ActionSpec::Respond { status, body } =
        route("response: {status: 410, body: gone}").http.action
    else {
        panic!()
    };
    assert_eq!((status.as_u16(), &*body), (410, b"gone".as_slice()));
}

#[test]
fn routes_keep_their_order_and_have_names_of_their_own() {
    let config = config(
        "routes:\n- {from: https://c, to: http://x, prefix: /p}\n- {from: https://c, to: http://x, name: n}\n\
         - {from: 'https://d:8443', to: http://x, name: n}\n- {from: https://c, to: http://x, regex: '/a.*'}\n\
         policy:\n- {from: https://a, to: http://x}",
    );
    let names: Vec<&str> = config.routes.iter().map(|route| &*route.http.name).collect();
    assert_eq!(names, ["a", "c/p*", "n", "n#2", "c~/a.*"]);
}

#[test]
fn claim_headers_are_removed_under_every_name_they_may_have() {
    let names = |yaml: &str| -> Vec<String> {
        let names = config(yaml).http.identity_headers;
        names.iter().skip(2).map(|name| name.to_string()).collect()
    };
    assert_eq!(names("jwt_claims_headers: {X-Email: email}"), ["x-email"]);
    assert_eq!(
        names("jwt_claims_headers: [email, groups]"),
        ["x-pomerium-claim-email", "x-pomerium-claim-groups"]
    );
    assert_eq!(
        names("jwt_claims_headers: email,user"),
        ["x-pomerium-claim-email", "x-pomerium-claim-user"]
    );
}

#[test]
fn the_metrics_listener_takes_password_certificate_and_ca() {
    let config = config(
        "metrics_address: ':9090'\nmetrics_basic_auth: dXNlcjpwYXNz\n\
         metrics_certificate_file: '@server.pem'\nmetrics_certificate_key_file: '@server-key.pem'\n\
         metrics_client_ca_file: '@ca.pem'",
    );
    let metrics = config.admin.metrics.unwrap();
    assert_eq!(metrics.address, "[::]:9090".parse().unwrap());
    assert_eq!(metrics.basic_auth.unwrap().0, "user:pass");
    assert!(metrics.identity.is_some() && metrics.client_anchors.is_some());
}

#[test]
fn hot_reload_can_be_switched_off() {
    assert!(!config("runtime_flags: {config_hot_reload: false}").hot_reload);
}
