//! A snippet, and what the model says of it.

mod headers;
mod matching;
mod upstreams;

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
    assert_eq!(config.log.access, Level::Info);
    assert_eq!(config.log.access_fields.len(), 16);
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
fn a_max_connections_that_is_set_is_known_as_such() {
    assert_eq!(config("").max_connections, None);
    assert_eq!(config("portcullis: {max_connections: 65536}").max_connections, Some(65_536));
}

#[test]
fn hosts_of_the_admin_address_are_names_in_normal_form() {
    let hosts = config("portcullis: {admin_hosts: [Admin.Internal., '*']}").admin.hosts;
    assert_eq!(hosts, ["admin.internal", "*"]);
    assert!(config("").admin.hosts.is_empty());
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
    assert_eq!(config.log.access, Level::Warn);
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
