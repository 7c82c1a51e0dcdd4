//! Names without a route, rejected by the kernel.

use portcullis_tests::{
    Backend, Raw,
    raw::TlsOptions,
    steering::{explain, outcome},
    wire::End,
};

use crate::stand::{DOMAIN, config, host, in_network, outcomes, visit};

fn unknown(proxy: &portcullis_tests::Proxy) -> Result<Raw, End> {
    Raw::try_tls(proxy.address(), &TlsOptions::name(&format!("nobody.{DOMAIN}")))
}

#[test]
fn an_unknown_name_is_reset_by_the_kernel() {
    in_network(|_| {
        let proxy = config(1, "unknown_sni: refuse").start();
        for address in [proxy.address(), proxy.address_v6()] {
            let options = TlsOptions::name(&format!("nobody.{DOMAIN}"));
            let refused = Raw::try_tls(address, &options);
            assert_eq!(refused.err(), Some(End::Reset), "{address}");
        }
        drop(visit(proxy.address(), &host(0), "/"));
        proxy.wait_for_access("/");
        let metrics = proxy.metrics();
        assert_eq!(outcomes(&metrics), [("steered", 1.0), ("unknown_refused", 2.0)]);
        assert_eq!(metrics.sum("portcullis_connections_accepted_total", &[]), 1.0);
        assert_eq!(metrics.sum("portcullis_tls_alerts_sent_total", &[]), 0.0);
        assert_eq!(proxy.count_log("listener connection failure"), 0);
        let reason = explain(&proxy, &format!("nobody.{DOMAIN}"))["reason"].clone();
        assert_eq!(reason, "no route has this name: connections for it are refused");
    });
}

/// The program cannot detect it; the worker that reads the hello can.
#[test]
fn an_unknown_name_in_a_split_hello_is_refused_by_a_worker() {
    in_network(|_| {
        let proxy = config(1, "unknown_sni: refuse").start();
        let name = format!("nobody.{DOMAIN}");
        let options = TlsOptions::name(&name).config();
        let refused = Raw::tcp(proxy.address()).start_tls_split(&name, &options, |_| 40);
        assert_eq!(refused.err(), Some(End::Alert(112)), "unrecognized_name");
        let metrics = proxy.metrics();
        assert_eq!(outcomes(&metrics), [("truncated", 1.0), ("unknown_refused", 1.0)]);
        proxy.wait_for_refusal(|line| line["tls-sni-hostname"] == name.as_str());
    });
}

#[test]
fn a_reload_begins_to_refuse_and_ends_it() {
    in_network(|_| {
        let mut proxy = config(1, "").start();
        assert!(unknown(&proxy).is_ok());
        for (generation, word) in [(2.0, "refuse"), (3.0, "accept")] {
            proxy.rewrite(config(1, &format!("unknown_sni: {word}")));
            proxy.wait_for_metric("portcullis_config_generation", &[], |now| now == generation);
            let expected = (word == "refuse").then_some(End::Reset);
            assert_eq!(unknown(&proxy).err(), expected, "{word}");
        }
        assert_eq!(outcome(&proxy.metrics(), "unknown_refused"), 1.0);
    });
}

#[test]
fn a_host_that_ends_in_a_star_disables_refusing_with_a_warning() {
    in_network(|_| {
        let backend = Backend::text("x");
        let open = config(1, "unknown_sni: refuse")
            .route(&format!("from: https://app.*\nto: {}", backend.url()));
        let checked = open.check();
        assert_eq!(checked.code, Some(0), "{checked:?}");
        let all = checked.stdout + &checked.stderr;
        assert!(all.contains("portcullis.steering.unknown_sni: has no effect"), "{all}");
        let proxy = open.start();
        assert!(unknown(&proxy).is_ok());
        assert_eq!(outcomes(&proxy.metrics()), [("steered", 1.0)]);
    });
}
