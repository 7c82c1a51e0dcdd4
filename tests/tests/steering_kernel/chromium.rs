//! Hellos of the real Chromium, over a cable. CI leaves this out: it measures, and what it measures
//! depends on the version of Chromium. `-- --ignored --nocapture chromium::` shows it.

use std::sync::mpsc;

use portcullis_tests::{Backend, chromium::Chromium, netns::Network, steering::outcome};

use crate::stand::{config, host, in_network};

const HOSTS: usize = 60;

/// How many hellos of a fresh profile, one to each host, were steered by the kernel, and how many had
/// no name in the first segment.
fn hellos(large_packets: bool, merging: bool) -> Option<(f64, f64)> {
    let (tell, told) = mpsc::channel();
    let mut counts = None;
    in_network(|network| {
        let browser = move |there: &Network| {
            there.send_large_packets(large_packets);
            let address = told.recv().expect("an address");
            let hosts: Vec<String> = (0..HOSTS).map(host).collect();
            Chromium::new().open_images(there, &hosts, address);
        };
        let server = || {
            network.merge_received_packets(merging);
            let backend = Backend::text("x");
            // With HTTP/2, one connection would serve all hosts.
            let config = config(0, "max_load_percent: 1000").global("codec_type: http1");
            let config = config.addresses(&["127.0.0.1:{port}", "10.0.0.1:{port}"]);
            let with_host = |config: portcullis_tests::proxy::Config, n| {
                config.forward(&format!("h{n}"), &backend.url(), "")
            };
            let proxy = (0..HOSTS).fold(config, with_host).start();
            tell.send(([10, 0, 0, 1], proxy.address().port()).into())
                .expect("the browser's thread");
            (proxy, backend)
        };
        let ((), (proxy, _backend)) = network.beside(browser, server);
        let metrics = proxy.metrics();
        counts = Some((outcome(&metrics, "steered"), outcome(&metrics, "truncated")));
    });
    counts
}

#[test]
#[ignore = "starts Chromium many times to count hellos; CONTRIBUTING names the command"]
fn hellos_of_chromium_are_steered_if_the_first_segment_has_the_name() {
    for (large_packets, merging) in [(false, false), (false, true), (true, false), (true, true)] {
        let Some((steered, truncated)) = hellos(large_packets, merging) else { return };
        let all = steered + truncated;
        println!(
            "large packets sent: {large_packets}, merged by the receiver: {merging}: {steered} of \
             {all} hellos steered by the kernel"
        );
        assert!(all >= HOSTS as f64, "{all}");
        assert!(!large_packets || truncated == 0.0, "{truncated}");
    }
}
