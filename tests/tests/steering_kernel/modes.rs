//! The active mode, and its requirements.

use portcullis_tests::{netns::private, proxy::Config, steering::outcome};

use crate::stand::{config, held, host, in_network, in_network_with_cookies, visit};

/// The capabilities of Linux 5.8 and later that the programs need.
const NEEDED: &str = "-all,+bpf,+perfmon,+net_admin";

fn with_mode(mode: &str) -> Config {
    config(1, "").own("steering", &format!("{{mode: {mode}}}"))
}

/// Starts the proxy in this mode, checks that every output shows the mode, and returns the reason.
fn runs(config: Config, mode: &str) -> String {
    let cookies = if mode == "kernel" { "catcher" } else { "none" };
    runs_with(config, mode, cookies)
}

fn runs_with(config: Config, mode: &str, cookies: &str) -> String {
    let proxy = config.start();
    let line = proxy.wait_for_log("the mode", |line| line["message"] == "steering");
    assert_eq!(line["mode"], mode, "{line}");
    let status = proxy.status();
    assert_eq!(status["steering"]["mode"], mode, "{status}");
    assert_eq!(status["steering"]["reason"], line["reason"]);
    let metrics = proxy.metrics();
    assert_eq!(metrics.sum("portcullis_steering_mode", &[("mode", mode)]), 1.0);
    assert_eq!(metrics.sum("portcullis_steering_mode", &[]), 1.0);
    assert_eq!(
        (&line["cookies"], &status["steering"]["cookies"]),
        (&cookies.into(), &cookies.into())
    );
    let source = |labels: &[(&str, &str)]| metrics.sum("portcullis_steering_cookie_source", labels);
    assert_eq!((source(&[("source", cookies)]), source(&[])), (1.0, 1.0));
    assert_eq!(held(&proxy) > 0.0, cookies == "catcher");
    drop(visit(proxy.address(), &host(0), "/"));
    assert_eq!(outcome(&proxy.metrics(), "steered"), 1.0);
    line["reason"].as_str().expect("a reason").to_owned()
}

#[test]
fn auto_takes_the_kernel_where_it_can_and_says_so() {
    in_network(|_| {
        let reason = runs(with_mode("auto"), "kernel");
        assert!(reason.contains("the programs are attached"), "{reason}");
    });
}

#[test]
fn with_cookies_for_all_listeners_no_catcher_is_used() {
    in_network_with_cookies(|_| {
        for mode in ["auto", "kernel"] {
            runs_with(with_mode(mode), "kernel", "sysctl");
        }
    });
}

#[test]
fn the_line_in_the_kernel_s_log_is_explained() {
    in_network(|_| {
        let proxy = with_mode("auto").start();
        proxy.wait_for_log("the explanation", |line| {
            line["message"].as_str().is_some_and(|text| text.contains("Possible SYN flooding"))
        });
    });
}

#[test]
fn auto_takes_hand_off_without_cookies_for_all_and_says_why() {
    in_network(|network| {
        for (sysctl, otherwise) in [("tcp_syncookies", "1"), ("tcp_timestamps", "1")] {
            network.sysctl(&format!("ipv4/{sysctl}"), "0");
            let reason = runs(with_mode("auto"), "handoff");
            assert!(reason.contains(&format!("net.ipv4.{sysctl} is 0")), "{reason}");
            network.sysctl(&format!("ipv4/{sysctl}"), otherwise);
        }
    });
}

#[test]
fn kernel_mode_without_cookies_is_refused_with_the_command() {
    in_network(|network| {
        network.sysctl("ipv4/tcp_syncookies", "0");
        let refused = with_mode("kernel").refused();
        assert!(refused.stderr.contains("sysctl -w net.ipv4.tcp_syncookies=1"), "{refused:?}");
    });
}

#[test]
fn three_capabilities_are_enough() {
    in_network(|_| {
        let bounded = ["setpriv", "--bounding-set", NEEDED];
        assert_eq!(runs(with_mode("kernel").started_by(&bounded), "kernel"), "as configured");
    });
}

#[test]
fn without_a_capability_auto_falls_back_to_hand_off() {
    in_network(|_| {
        for missing in ["bpf", "perfmon", "net_admin"] {
            let left = NEEDED.replace(&format!(",+{missing}"), "");
            let bounded = ["setpriv", "--bounding-set", &left];
            let refused = with_mode("kernel").started_by(&bounded).refused();
            let line = "AmbientCapabilities=CAP_BPF CAP_PERFMON CAP_NET_ADMIN";
            assert!(refused.stderr.contains(line), "{missing}: {refused:?}");
            let reason = runs(with_mode("auto").started_by(&bounded), "handoff");
            assert!(reason.contains("CAP_BPF"), "{missing}: {reason}");
        }
    });
}

#[test]
fn one_network_s_setting_says_nothing_of_another() {
    in_network(|_| {
        private(|inner| {
            inner.sysctl("ipv4/tcp_syncookies", "0");
            runs(with_mode("auto"), "handoff");
        });
        runs(with_mode("auto"), "kernel");
    });
}
