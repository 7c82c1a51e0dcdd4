//! Where routes lead.

use super::*;

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
