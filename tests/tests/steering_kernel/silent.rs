//! Clients that connect and send no hello.

use std::{net::SocketAddr, process::Command};

use portcullis_tests::{process::Process, tools::python, wait::until};

use crate::stand::{config, host, in_network, outcomes, visit};

/// Processes that hold connections, each from its own address.
const HOLDERS: usize = 10;
/// Connections of each: fewer than the ports of an address, and the descriptors of a process.
const EACH: usize = 10_000;
/// Memory that the proxy may need for other reasons. As many connections would hold ten times that.
const GROWTH_KIB: u64 = 16 * 1024;

const HOLD: &str = "
import signal, socket, sys
source, address, port, count = sys.argv[1:]
held = [socket.create_connection((address, port), source_address=(source, 0)) for _ in range(int(count))]
print('connected', flush=True)
signal.pause()
";

fn hold(number: usize, to: SocketAddr) -> Process {
    let source = format!("127.0.1.{}", 1 + number);
    let (address, port, count) = (to.ip().to_string(), to.port().to_string(), EACH.to_string());
    let mut command = Command::new(python());
    Process::spawn("holder", command.args(["-c", HOLD, &source, &address, &port, &count]))
}

#[test]
fn clients_that_never_send_a_hello_cost_no_memory() {
    in_network(|_| {
        let proxy = config(4, "max_load_percent: 1000").start();
        // The memory that it needs once.
        (0..200).for_each(|n| drop(visit(proxy.address(), &host(n % 4), "/warm")));
        proxy.wait_for_metric("portcullis_connections_active", &[], |open| open == 0.0);
        let (memory, descriptors) = (proxy.resident_kib(), proxy.descriptors());
        let holders: Vec<_> = (0..HOLDERS).map(|n| hold(n, proxy.address())).collect();
        holders.iter().for_each(|holder| drop(holder.wait_for_text("connected")));
        let deferred =
            proxy.metrics().sum("portcullis_steering_segments_total", &[("outcome", "deferred")]);
        assert!(deferred >= (HOLDERS * EACH) as f64, "{deferred}");
        for n in 0..40 {
            drop(visit(proxy.address(), &host(n % 4), &format!("/meanwhile/{n}")));
        }
        proxy.wait_for_metric("portcullis_connections_active", &[], |open| open == 0.0);
        let metrics = proxy.metrics();
        assert_eq!(metrics.sum("portcullis_connections_accepted_total", &[]), 240.0);
        assert_eq!(outcomes(&metrics), [("steered", 240.0)]);
        until("descriptors of others to be closed", || proxy.descriptors() <= descriptors);
        let grown = proxy.resident_kib().saturating_sub(memory);
        assert!(grown < GROWTH_KIB, "{grown} KiB");
        proxy.assert_no_panic();
    });
}
